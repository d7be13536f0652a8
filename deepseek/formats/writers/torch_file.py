"""Write a file as ``torch.save`` does, tensor by tensor, with no more than one of them in memory.

The file is a zip archive, uncompressed: a pickle that rebuilds a dictionary of tensors out of
numbered storages, and one member for each storage. Names that share memory point to one storage.
"""

import io
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch._utils import _rebuild_tensor_v2, _rebuild_tensor_v3

from deepseek.formats.checkpoint import TensorInfo

__all__ = ["write_torch"]

_PROTOCOL = 2  # what torch.save writes and every reader of its files knows
_ALIGNMENT = 64
_STORAGES = {
    torch.float64: torch.DoubleStorage,
    torch.float32: torch.FloatStorage,
    torch.float16: torch.HalfStorage,
    torch.bfloat16: torch.BFloat16Storage,
    torch.complex128: torch.ComplexDoubleStorage,
    torch.complex64: torch.ComplexFloatStorage,
    torch.int64: torch.LongStorage,
    torch.int32: torch.IntStorage,
    torch.int16: torch.ShortStorage,
    torch.int8: torch.CharStorage,
    torch.uint8: torch.ByteStorage,
    torch.bool: torch.BoolStorage,
}


def write_torch(
    path: Path,
    infos: Mapping[str, TensorInfo],
    shared: Mapping[str, str],
    read: Callable[[str], torch.Tensor],
) -> None:
    """Write one file.

    Args:
        path: Where.
        infos: The tensors as they are to be written, under all their names.
        shared: For each further name of a shared tensor, the name that holds it.
        read: Gives a tensor in the type it is to be written with.
    """
    with path.open("wb") as file:
        guard = _Guard(file)
        archive = torch._C.PyTorchFileWriter(  # noqa: SLF001 - what torch.save itself uses
            cast("IO[bytes]", guard), compute_crc32=True, storage_alignment=_ALIGNMENT
        )
        try:
            _write_records(archive, infos, shared, read)
            archive.write_end_of_file()
        except RuntimeError as error:
            # torch reports a write that failed in words of its own; the system's reason is kept.
            raise guard.error or error from error


def _write_records(
    archive: Any,
    infos: Mapping[str, TensorInfo],
    shared: Mapping[str, str],
    read: Callable[[str], torch.Tensor],
) -> None:
    own = [name for name in infos if name not in shared]
    keys = {name: str(number) for number, name in enumerate(own)}
    tensors = {
        name: _Tensor(info, _Storage(info, keys[shared.get(name, name)]))
        for name, info in infos.items()
    }
    content = _pickled(tensors)
    archive.write_record("data.pkl", content, len(content))
    for name, text in ((".format_version", "1"), (".storage_alignment", str(_ALIGNMENT)),
                       ("byteorder", sys.byteorder)):  # fmt: skip
        archive.write_record(name, text, len(text))
    for name, key in keys.items():
        tensor = read(name).detach().contiguous()
        assert tensor.dtype == infos[name].dtype, f"{name}: {tensor.dtype}"
        # A record is written from the beginning of a storage.
        own_storage = tensor if tensor.storage_offset() == 0 else tensor.clone()
        archive.write_record(f"data/{key}", own_storage.untyped_storage(), infos[name].bytes)


@dataclass(frozen=True, slots=True)
class _Storage:
    """Stands in the pickle for the storage of a tensor."""

    info: TensorInfo
    key: str

    def reference(self) -> tuple[object, ...]:
        """How torch's pickles name a storage: kind, class, member, device, elements."""
        typed = _STORAGES.get(self.info.dtype)
        count = self.info.count if typed is not None else self.info.bytes
        return ("storage", typed or torch.UntypedStorage, self.key, "cpu", count)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Stands in the pickle for a tensor, and says how torch rebuilds it."""

    info: TensorInfo
    storage: _Storage

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        shape = self.info.shape
        strides = torch.empty(shape, device="meta").stride()
        arguments: tuple[object, ...] = (self.storage, 0, shape, strides, False, OrderedDict())
        if self.info.dtype in _STORAGES:
            return _rebuild_tensor_v2, arguments
        return _rebuild_tensor_v3, (*arguments, self.info.dtype)


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> tuple[object, ...] | None:
        return value.reference() if isinstance(value, _Storage) else None


def _pickled(tensors: Mapping[str, _Tensor]) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=_PROTOCOL).dump(OrderedDict(tensors))
    return buffer.getvalue()


class _Guard:
    """A file that remembers why a write failed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, or remember why not."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise
