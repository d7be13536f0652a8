"""A checkpoint as every reader gives it and every writer takes it: named tensors, read when asked.

Nothing is loaded before ``tensor`` is called, and what it returns may lie on mapped pages of the
file, so that a checkpoint larger than memory can be walked tensor by tensor.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["Checkpoint", "TensorInfo"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorInfo:
    """What is known of a tensor without reading it.

    Attributes:
        shape: Its sizes; ``()`` for a scalar.
        dtype: Its torch type.
    """

    shape: tuple[int, ...]
    dtype: "torch.dtype"

    @property
    def count(self) -> int:
        """Number of elements."""
        total = 1
        for size in self.shape:
            total *= size
        return total

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A named collection of tensors and what came with them.

    Attributes:
        source: The file or folder it was read from.
        format: ``torch``, ``safetensors``, ``hf``, ``onnx`` or ``gguf``.
        infos: Shape and type of every tensor by name, in the order of the source. Names that
            share memory are all listed here.
        read: Gives the tensor of a name; on mapped pages where the format allows it.
        shared: For each further name of a shared (tied) tensor, the name that holds it.
        config: The model configuration (``config.json``) where there is one.
        metadata: Text the format carried along.
        files: Every file that was read, the ones with the tensors first.
        notes: What a reader decided that a user may want to know.
    """

    source: Path
    format: str
    infos: Mapping[str, TensorInfo]
    read: Callable[[str], "torch.Tensor"]
    shared: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Size of the tensors in bytes, shared ones counted once."""
        return sum(info.bytes for name, info in self.infos.items() if name not in self.shared)
