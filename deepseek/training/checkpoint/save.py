"""Write checkpoints while training goes on.

The tensors are copied to buffers of ours, which stops training for the time of a copy; a thread
then writes them, each process its own shards, and rank 0 publishes what is complete.
"""

import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_saver import async_save

from deepseek.distributed.ties import local
from deepseek.training.checkpoint.folder import CheckpointFolder
from deepseek.training.checkpoint.pieces import PieceWriter

__all__ = ["CheckpointWriter"]


@dataclass(slots=True)
class CheckpointWriter:
    """Writes one checkpoint at a time in the background.

    Attributes:
        folder: Where to.
        keep: How many are kept.
        warn: Told in one line when a checkpoint could not be written.
    """

    folder: CheckpointFolder
    keep: int
    warn: Callable[[str], None]
    _pending: Future[Any] | None = field(default=None, init=False)
    _step: int = field(default=-1, init=False)
    _state: Mapping[str, Any] = field(default_factory=dict, init=False)
    _group: dist.ProcessGroup | None = field(default=None, init=False)
    _stager: DefaultStager = field(
        default_factory=lambda: DefaultStager(StagingOptions(False, False, False, False)),
        init=False,
    )

    def __post_init__(self) -> None:
        if dist.is_initialized():
            # On the group that training uses, two threads would mix their messages.
            self._group = dist.new_group(backend="gloo")
        else:
            # A single process is what we mean; the thread that writes cannot catch the warning.
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")

    def save(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        state: Mapping[str, Any],
    ) -> None:
        """Begin to write the checkpoint of ``step``; the tensors may change when this returns.

        Args:
            step: The step.
            tensors: By section and name; torch logs every entry of the uppermost level, so that
                sections cost less than one long mapping.
            state: What is not a tensor, in plain JSON values.
        """
        self.wait()
        place = self.folder.root / f"step-{step:08d}.part"
        if _leads():
            place = self.folder.staging(step)
        if self._group is not None:
            dist.barrier(self._group)
        self._step, self._state = step, state
        saved = async_save(
            {section: _apart(named) for section, named in tensors.items() if named},
            storage_writer=PieceWriter(str(place)),
            process_group=self._group,
            async_stager=self._stager,
            no_dist=self._group is None,
        )
        assert isinstance(saved, Future)
        self._pending = saved

    def wait(self) -> bool:
        """Wait for what is being written, and publish it. True unless it failed."""
        if self._pending is None:
            return True
        pending, self._pending = self._pending, None
        try:
            pending.result()
            if _leads():
                self.folder.publish(self._step, dict(self._state))
                self.folder.prune(self.keep, self._state.get("best_step"))
        except (Exception, CheckpointException) as error:  # noqa: BLE001 - training goes on
            self.warn(f"the checkpoint of step {self._step} could not be written: {_why(error)}")
            return False
        return True

    def poll(self) -> None:
        """Publish what is complete, without waiting."""
        if self._pending is not None and self._pending.done():
            self.wait()


def _apart(named: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors, those that share their memory copied: a file holds a tied weight twice.

    A pipeline has a copy of it in each of two stages, and loads each by its own name.
    """
    seen: set[int] = set()
    apart: dict[str, torch.Tensor] = {}
    for name, tensor in named.items():
        place = local(tensor).untyped_storage().data_ptr()
        apart[name] = tensor.detach().clone() if place in seen else tensor
        seen.add(place)
    return apart


def _leads() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def _why(error: BaseException) -> str:
    """The cause, without the traceback that torch puts before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
