"""What a rank tells the process that started it."""

import pickle
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from deepseek.errors import DeepseekError

__all__ = ["Advanced", "Done", "Failed", "Message", "read", "write"]


@dataclass(frozen=True, slots=True)
class Advanced:
    """Progress of rank 0."""

    stage: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """The worker returned; only rank 0 sends what."""

    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker raised.

    Attributes:
        when: On the monotonic clock, which all processes of a machine share: the first failure
            is the cause, later ones are its consequences.
        summary: Type and message in one line.
        trace: The traceback.
        error: The error itself where it speaks for itself: one of ours.
        interrupted: Whether it was the user who ended it.
    """

    when: float
    summary: str
    trace: str
    error: DeepseekError | None = None
    interrupted: bool = False


Message = Advanced | Done | Failed


def write(pipe: Connection, message: Message) -> None:
    """Send a message.

    By plain pickle: a pipe's own pickler would pass tensors as handles of shared memory, which end
    with the process that sent them.
    """
    pipe.send_bytes(pickle.dumps(message))


def read(pipe: Connection) -> Message:
    """The next message.

    Raises:
        EOFError: The process ended.
    """
    message: Message = pickle.loads(pipe.recv_bytes())  # noqa: S301  # written by our own child
    return message
