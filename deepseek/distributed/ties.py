"""Parameters that several stages hold: equal at the start, trained with the sum of gradients.

In one process, embeddings and a head tied to them are one parameter, and backward passes add up
what both contribute. Split, each stage has a copy; adding the gradients of the copies before every
optimiser step, and giving the sum to each, is the same.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from deepseek.distributed.stages import Stage, Tie

__all__ = ["TiedParameters", "is_copy", "local"]

_MARK = "_is_copy_of_tied"


def is_copy(parameter: Tensor) -> bool:
    """Whether an earlier stage holds this parameter too: a norm counts that one only."""
    return bool(getattr(parameter, _MARK, False))


def local(tensor: Tensor) -> Tensor:
    """This process's shard of a tensor, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class TiedParameters:
    """The tied parameters of one row of stages, seen from one process.

    Args:
        stages: This process's stages, sharded.
        owner: Which process of the row runs a stage.
        group: The processes of the row.
    """

    def __init__(
        self, stages: Sequence[Stage], owner: Callable[[int], int], group: dist.ProcessGroup
    ) -> None:
        self._stages = {stage.index: stage for stage in stages}
        self._owner = owner
        self._group = group
        self._ties = stages[0].ties
        for tie in self._ties:
            for index, parameter in self._copies(tie):
                if index > min(tie.names):
                    setattr(parameter, _MARK, True)
            self._spread(tie, [parameter.detach() for _, parameter in self._copies(tie)])

    def _copies(self, tie: Tie) -> list[tuple[int, torch.nn.Parameter]]:
        return [
            (index, self._stages[index].model.get_parameter(tie.names[index]))
            for index in sorted(tie.names)
            if index in self._stages
        ]

    def sum_gradients(self) -> None:
        """Give every copy the sum of all copies' gradients, the same to the last bit."""
        for tie in self._ties:
            copies = [parameter for _, parameter in self._copies(tie)]
            if copies and copies[0].requires_grad:
                for parameter in copies:
                    if parameter.grad is None:
                        parameter.grad = torch.zeros_like(parameter)
                self._add_up(tie, [p.grad for p in copies if p.grad is not None])

    def _holders(self, tie: Tie) -> tuple[int, list[int]]:
        """The process that holds the first copy, and the others."""
        first = self._owner(min(tie.names))
        return first, sorted({self._owner(index) for index in tie.names} - {first})

    def _add_up(self, tie: Tie, own: Sequence[Tensor]) -> None:
        first, others = self._holders(tie)
        total = local(own[0])
        for tensor in own[1:]:
            total += local(tensor)
        if dist.get_rank(self._group) == first:
            for sender in others:
                part = torch.empty_like(total)
                dist.recv(part, group=self._group, group_src=sender)
                total += part
        else:
            dist.send(total.contiguous(), group=self._group, group_dst=first)
        self._spread(tie, own)

    def _spread(self, tie: Tie, own: Iterable[Tensor]) -> None:
        """Overwrite all copies with the first."""
        parts = [local(tensor) for tensor in own]
        if not parts:
            return
        first, others = self._holders(tie)
        if dist.get_rank(self._group) == first:
            for receiver in others:
                dist.send(parts[0].contiguous(), group=self._group, group_dst=receiver)
        else:
            received = torch.empty_like(parts[0])
            dist.recv(received, group=self._group, group_src=first)
            parts[0].copy_(received)
        for part in parts[1:]:
            part.copy_(parts[0])
