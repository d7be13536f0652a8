"""What stands in a stage for the parts of the model that other stages own.

None of them has parameters. Together they let a stage run the whole model's forward function:
what is in front of its blocks hands in the hidden state that was received, and what is behind them
ends the pass.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from deepseek.errors import InputError

__all__ = ["Absent", "Before", "Behind", "Entrance", "Inbox", "Reached", "Through", "first_of"]


@dataclass
class Inbox:
    """The hidden state that a stage received, while its forward pass runs.

    Attributes:
        hidden: What was received; None outside a pass.
        opened: Whether the pass has come to the block before the first own one.
        arrived: Whether what that handed in came to the first own block unchanged.
    """

    hidden: torch.Tensor | None = None
    opened: bool = False
    arrived: bool = False


class Reached(Exception):  # noqa: N818  # the way out of a forward pass, no error
    """The pass has come behind the last own block, with this hidden state."""

    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self.hidden = hidden


def first_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a block is called with first: the hidden state."""
    return args[0] if args else next(iter(kwargs.values()))


def _without_data(module: nn.Module) -> nn.Module:
    """A copy whose tensors are on the meta device."""
    memo: dict[int, Any] = {
        id(tensor): copy.copy(tensor.to("meta"))
        for tensor in [*module.parameters(), *module.buffers()]
    }
    return copy.deepcopy(module, memo)


class Entrance(nn.Module):
    """In place of a module of the entrance: the received state, which has the right shape.

    Models ask their embeddings for a weight's type, say: what is not of this class is looked up
    in a copy of the module without data.
    """

    def __init__(self, name: str, module: nn.Module, inbox: Inbox) -> None:
        super().__init__()
        self._name = name
        self._replaced = (_without_data(module),)  # in a tuple, it is no module of this one
        self._inbox = inbox

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_replaced"][0], name)

    def forward(self, *_: Any, **__: Any) -> torch.Tensor:
        """The received state, whatever comes in."""
        if self._inbox.opened or self._inbox.hidden is None:
            raise InputError(
                f"expected {self._name}, which is registered before the blocks, to run only "
                "before them",
                hint="register modules in the order in which they run, or train in one stage",
            )
        return self._inbox.hidden


class Before(nn.Module):
    """In place of the block before the first own one: the received state enters here."""

    def __init__(self, inbox: Inbox) -> None:
        super().__init__()
        self._inbox = inbox

    def forward(self, *_: Any, **__: Any) -> torch.Tensor:
        """The received state, whatever comes in."""
        assert self._inbox.hidden is not None
        self._inbox.opened = True
        return self._inbox.hidden


class Through(nn.Module):
    """In place of an earlier block of another stage."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What comes in."""
        return first_of(args, kwargs)


class Behind(nn.Module):
    """In place of the block after the last own one."""

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Leave the pass with what comes in."""
        raise Reached(first_of(args, kwargs))


class Absent(nn.Module):
    """In place of a module of the exit, which only the last stage reaches."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def forward(self, *_: Any, **__: Any) -> torch.Tensor:
        """Refuse."""
        raise InputError(
            f"expected {self._name}, which is registered after the blocks, to run only after them",
            hint="register modules in the order in which they run, or train in one stage",
        )
