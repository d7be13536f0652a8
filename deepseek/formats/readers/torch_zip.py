"""Files of torch.save since 1.6: a zip archive with one pickle and one member per storage.

The pickle is read without any data; each tensor is then mapped from where its storage lies in the
file, which works because torch stores members uncompressed.
"""

import io
import struct
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import torch

from deepseek.errors import InputError
from deepseek.formats.checkpoint import Checkpoint
from deepseek.formats.damage import blamed_on
from deepseek.formats.mapped import map_tensor
from deepseek.formats.pickles import load_weights_only
from deepseek.formats.readers.torch_named import named_checkpoint
from deepseek.formats.state_dict import find_state_dict

__all__ = ["read_torch_zip"]

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # magic, …, length of the name, length of the extra field
_LARGEST_PICKLE = 1 << 30


def read_torch_zip(path: Path, allow_globals: Sequence[str] = ()) -> Checkpoint:
    """The checkpoint in a zip archive of torch.save; its tensors are mapped when asked for.

    Raises:
        InputError: The archive is damaged, or its pickle mentions names that are not allowed.
    """
    ends = _storages(path)
    saved = load_weights_only(
        path, pickles=_open_pickle, allow_globals=allow_globals, map_location="meta"
    )
    found = find_state_dict(saved, path)
    for name, tensor in found.tensors.items():
        _check(path, name, tensor, ends)
    return named_checkpoint(path, found, place=_offset, read=lambda tensor: _read(path, tensor))


def _open_pickle(file: IO[bytes]) -> IO[bytes]:
    with zipfile.ZipFile(file) as archive:
        name = next(name for name in archive.namelist() if PurePosixPath(name).name == "data.pkl")
        return io.BytesIO(archive.read(name))


def _storages(path: Path) -> dict[int, int]:
    """Where each storage begins and ends in the file."""
    with (
        blamed_on(path, "a zip archive of torch.save"),
        zipfile.ZipFile(path) as archive,
        path.open("rb") as file,
    ):
        members = archive.infolist()
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 0x1:
                raise InputError(f"{path}: {member.filename} is compressed; torch never does that")
            if member.filename.endswith("/data.pkl") and member.file_size > _LARGEST_PICKLE:
                raise InputError(f"{path}: a pickle of {member.file_size} bytes is not plausible")
            if member.filename.endswith("/byteorder"):
                _check_byte_order(path, archive.read(member))
        return dict(_extent(path, file, member) for member in members)


def _extent(path: Path, file: IO[bytes], member: zipfile.ZipInfo) -> tuple[int, int]:
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
        raise InputError(f"{path}: {member.filename} does not lie where the archive says")
    _magic, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    begin = member.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    return begin, begin + member.file_size


def _check_byte_order(path: Path, order: bytes) -> None:
    if order.decode("ascii", "replace") != sys.byteorder:
        raise InputError(
            f"{path}: saved on a machine of the other byte order ({order[:10]!r})",
            hint="save it again on this kind of machine",
        )


def _offset(tensor: torch.Tensor) -> int | None:
    """Where torch says that the storage begins in the file."""
    return tensor.untyped_storage()._checkpoint_offset  # noqa: SLF001 - how torch hands it out


def _check(path: Path, name: str, tensor: torch.Tensor, ends: dict[int, int]) -> None:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_conj() or tensor.is_neg():
        raise InputError(f"{path}: {name} is sparse, quantized by torch or a lazy view: not read")
    begin = _offset(tensor)
    last = int(tensor.storage_offset()) + sum(
        (size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True)
    )
    needed = 0 if 0 in tensor.shape else (last + 1) * tensor.dtype.itemsize
    if begin is None or begin not in ends or begin + needed > ends[begin]:
        raise InputError(f"{path}: {name} reaches beyond its storage: damaged or cut off")


def _read(path: Path, tensor: torch.Tensor) -> torch.Tensor:
    return map_tensor(
        path,
        offset=(_offset(tensor) or 0) + int(tensor.storage_offset()) * tensor.dtype.itemsize,
        dtype=tensor.dtype,
        shape=tensor.shape,
        strides=tensor.stride(),
    )
