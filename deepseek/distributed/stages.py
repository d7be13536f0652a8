"""A model cut into stages that run one after the other, each with only what it owns.

A model is an entrance, a list of equal blocks, and an exit. Every stage keeps the whole model's
own forward function and names; what it does not own is replaced by stand-ins without parameters:
the entrance and the block before the first own block hand in the hidden state that was received,
blocks of others hand it through, and behind the last own block the pass is left.
"""

import copy
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from deepseek.errors import InputError

__all__ = ["Stage", "block_list", "split"]


class _Reached(Exception):  # noqa: N818  # a way out of a forward pass, not an error
    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self.hidden = hidden


class _Received(nn.Module):
    """Whatever comes in, hands on the hidden state that this stage received."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: torch.Tensor | None = None

    def forward(self, *_: Any, **__: Any) -> torch.Tensor:
        assert self.hidden is not None
        return self.hidden


class _Through(nn.Module):
    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden


class _Leave(nn.Module):
    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        raise _Reached(hidden)


class Stage(nn.Module):
    """One part of a model.

    Attributes:
        model: The model with stand-ins for what other stages own: names are as in the whole.
        index: Which stage this is.
        count: Of how many.
    """

    def __init__(self, model: nn.Module, index: int, count: int, received: _Received) -> None:
        super().__init__()
        self.model = model
        self.index = index
        self.count = count
        self._received = received

    def forward(self, *hidden: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        """The hidden state behind this stage's blocks, or the model's output from the last one."""
        self._received.hidden = hidden[0] if hidden else None
        try:
            output = self.model(**inputs)
        except _Reached as reached:
            return reached.hidden
        finally:
            self._received.hidden = None
        return output if isinstance(output, torch.Tensor) else output.logits


def block_list(module: nn.Module) -> list[nn.Module]:
    """The model's repeated blocks that carry parameters: those of its outermost list."""
    for child in module.modules():
        if isinstance(child, nn.ModuleList) and len(child) > 1:
            return [block for block in child if next(block.parameters(), None) is not None]
    return []


def _balance(costs: Sequence[float], stages: int) -> list[int]:
    size, rest = divmod(len(costs), stages)
    starts = [0]
    for index in range(stages):
        starts.append(starts[-1] + size + (index < rest))
    return starts


def split(
    model: nn.Module,
    stages: int,
    costs: Sequence[float] | None = None,
    *,
    keep: Collection[int] | None = None,
) -> list[Stage]:
    """Cut a model into stages of about equal cost.

    Args:
        model: A model with one list of equal blocks.
        stages: How many.
        costs: What entrance, each block and exit cost.
        keep: The stages to make, all by default.

    Raises:
        InputError: The model has no such list, or fewer blocks than stages.
    """
    path, blocks = next(
        (name, child)
        for name, child in model.named_modules()
        if isinstance(child, nn.ModuleList) and len(child) > 1
    )
    if stages > len(blocks):
        raise InputError(
            f"expected at most {len(blocks)} stages, one a block of {path}, got {stages}"
        )
    bounds = list(pairwise(_balance([1.0] * len(blocks), stages)))
    base, _, _ = path.rpartition(".")
    entrance = [
        module
        for module in model.get_submodule(base).children()
        if isinstance(module, nn.Embedding) or type(module).__name__.endswith("Embeddings")
    ]
    made = []
    for index, (start, stop) in enumerate(bounds):
        if keep is not None and index not in keep:
            continue
        received = _Received()
        memo: dict[int, Any] = {id(p): p for p in model.parameters()}
        for number, block in enumerate(blocks):
            if not start <= number < stop:
                memo[id(block)] = (
                    _Through() if number < start - 1 else received if number < start else _Leave()
                )
            else:
                memo[id(block)] = block
        if index:
            memo |= {id(module): received for module in entrance}
        made.append(Stage(copy.deepcopy(model, memo), index, stages, received))
    return made
