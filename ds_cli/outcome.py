"""What a command hands back, and the exit codes it can end with."""

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["ExitCode", "Outcome"]


class ExitCode(IntEnum):
    """How a command ended, as a shell sees it."""

    DONE = 0
    GATE_FAILED = 1
    BAD_INPUT = 2
    INTERNAL = 3
    INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The result of a command, for people and for programs.

    Attributes:
        document: The result as plain JSON values; printed by ``--json``.
        view: The result as a person reads it: rich text or a table. A plain string is written
            as it is, neither wrapped nor styled.
        passed: False when a gate or check failed, which ends the command with exit code 1.
    """

    document: dict[str, Any]
    view: "RenderableType"
    passed: bool = True
