"""A model cut into stages that run one after the other, each with only what it owns.

Every stage keeps the whole model's forward function and names. What it does not own is replaced
by stand-ins without parameters: its entrance and the block before its first own block hand in the
hidden state that was received, blocks of others hand it through, and behind the last own block the
forward pass is left. So masks, positions and whatever else a model computes on its way are the
model's own, and nothing has to be known about its family.
"""

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import nn

from deepseek.distributed.anatomy import Anatomy, anatomy
from deepseek.distributed.costs import Costs, balance, estimate_costs
from deepseek.distributed.standins import (
    Absent,
    Before,
    Behind,
    Entrance,
    Inbox,
    Reached,
    Through,
    first_of,
)
from deepseek.errors import InputError

__all__ = ["Stage", "Tie", "output_of", "split"]


@dataclass(frozen=True)
class Tie:
    """One parameter that several stages hold: each trains its copy with the sum of the gradients.

    Attributes:
        names: The parameter's name by stage.
    """

    names: Mapping[int, str]


class Stage(nn.Module):
    """One part of a model.

    Attributes:
        model: The model with stand-ins for what other stages own; names are as in the whole.
        index: Which stage this is.
        count: Of how many.
        blocks: Its own blocks.
        ties: The parameters that stages of this model share.
        autocast: The type that autocast computes in, if it does.
    """

    def __init__(
        self,
        model: nn.Module,
        index: int,
        count: int,
        blocks: tuple[nn.Module, ...],
        ties: tuple[Tie, ...],
        inbox: Inbox,
    ) -> None:
        super().__init__()
        self.model = model
        self.index = index
        self.count = count
        self.blocks = blocks
        self.ties = ties
        self.autocast: torch.dtype | None = None
        self._inbox = inbox
        if index:
            blocks[0].register_forward_pre_hook(self._check_handed_in, with_kwargs=True)

    def forward(self, *hidden: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        """Run the stage.

        Args:
            hidden: What the stage before returned; nothing for the first.
            inputs: Keyword arguments of the whole model, the same for each stage.

        Returns:
            The hidden state behind the last own block; from the last stage, the model's output.
        """
        self._inbox.hidden = hidden[0] if hidden else None
        self._inbox.opened = self._inbox.arrived = False
        device = next(iter(inputs.values())).device.type
        try:
            with torch.autocast(device, self.autocast, enabled=self.autocast is not None):
                return output_of(self.model(**inputs))
        except Reached as reached:
            return reached.hidden
        except Exception as error:
            if self._inbox.opened and not self._inbox.arrived:
                raise self._cannot_hand_in() from error
            raise
        finally:
            self._inbox.hidden = None

    def _cannot_hand_in(self) -> InputError:
        return InputError(
            "expected blocks that hand one tensor to the next block, unchanged, got "
            f"{type(self.model).__name__}, which does more between blocks",
            hint="train it with one pipeline stage and a sharding strategy",
        )

    def _check_handed_in(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sent = self._inbox.hidden
        # Recomputation of a checkpointed block comes when the pass is over.
        if sent is None or torch.compiler.is_compiling():
            return
        found = first_of(args, kwargs)
        if found.data_ptr() != sent.data_ptr() or found.shape != sent.shape:
            raise self._cannot_hand_in()
        self._inbox.arrived = True


def output_of(output: Any) -> torch.Tensor:
    """The tensor that matters of what a model returned: itself, its logits, or its first."""
    if isinstance(output, torch.Tensor):
        return output
    logits = getattr(output, "logits", None)
    found: torch.Tensor = output[0] if logits is None else logits
    return found


def split(
    model: nn.Module,
    stages: int,
    costs: Costs | None = None,
    *,
    keep: Collection[int] | None = None,
) -> list[Stage]:
    """Cut a model into stages of about equal cost.

    Stages share the model's modules: nothing is copied but what two stages need, such as a head
    tied to the embeddings. A model on the meta device stays there.

    Args:
        model: An entrance, one list of equal blocks, an exit, registered in that order.
        stages: How many; each gets at least one block.
        costs: What each part costs, the same on every process; estimated by default.
        keep: Which stages to make, all by default.

    Raises:
        InputError: The model is not of this form, or has fewer blocks than stages.
    """
    parts = anatomy(model)
    if stages > parts.depth:
        raise InputError(
            f"expected at most {parts.depth} stages, one a block of {parts.blocks}, got {stages}",
            hint=f"use {parts.depth} stages or fewer",
        )
    sizes = balance(costs or estimate_costs(model, parts), stages)
    bounds = list(pairwise(accumulate(sizes, initial=0)))
    ties = _ties(model, parts, bounds)
    indices = range(stages) if keep is None else sorted(keep)
    return [_stage(model, parts, index, bounds, ties) for index in indices]


def _stage(
    model: nn.Module,
    parts: Anatomy,
    index: int,
    bounds: list[tuple[int, int]],
    ties: tuple[Tie, ...],
) -> Stage:
    start, stop = bounds[index]
    first, last = index == 0, index == len(bounds) - 1
    inbox = Inbox()
    blocks = list(model.get_submodule(parts.blocks).children())
    others = {
        number: Through() if number < start - 1 else Before(inbox) for number in range(start)
    } | {number: Behind() for number in range(stop, parts.depth)}
    memo: dict[int, Any] = {
        id(block): others.get(number, block) for number, block in enumerate(blocks)
    }
    for name in parts.entrance:
        module = model.get_submodule(name)
        if first:
            memo[id(module)] = module
        elif _has_parameters(module) or isinstance(module, nn.Dropout):
            memo[id(module)] = Entrance(name, module, inbox)
    copied = {tie.names[index] for tie in ties if index in tie.names and index > min(tie.names)}
    for name in parts.exit:
        module = model.get_submodule(name)
        if last and not any(tied.startswith(f"{name}.") for tied in copied):
            memo[id(module)] = module
        elif not last and _has_parameters(module):
            memo[id(module)] = Absent(name)
    # What the memo does not name is copied: the modules around the parts, and tied heads. Tensors
    # without memory cannot be deep-copied, but cloned: those of parameters are anyway.
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().clone()
    skeleton = copy.deepcopy(model, memo)
    return Stage(skeleton, index, len(bounds), tuple(blocks[start:stop]), ties, inbox)


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _ties(model: nn.Module, parts: Anatomy, bounds: list[tuple[int, int]]) -> tuple[Tie, ...]:
    """Parameters that appear in several stages, in the model's order."""
    everywhere = range(len(bounds))
    names: dict[int, dict[int, str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        holders = names.setdefault(id(parameter), {})
        stages = everywhere if name in parts.loose else [_owner(name, parts, bounds)]
        for stage in stages:
            holders.setdefault(stage, name)
    return tuple(Tie(holders) for holders in names.values() if len(holders) > 1)


def _owner(name: str, parts: Anatomy, bounds: list[tuple[int, int]]) -> int:
    if name.startswith(f"{parts.blocks}."):
        number = int(name.removeprefix(f"{parts.blocks}.").partition(".")[0])
        return next(stage for stage, (_, stop) in enumerate(bounds) if number < stop)
    if any(name.startswith(f"{part}.") for part in parts.entrance):
        return 0
    return len(bounds) - 1
