"""Safetensors: a length, a JSON header, then the tensors without gaps.

The safetensors library checks the header (lengths, overlaps, types); each tensor is then mapped
from its place.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from deepseek.errors import InputError
from deepseek.formats.checkpoint import Checkpoint, TensorInfo
from deepseek.formats.damage import blamed_on
from deepseek.formats.mapped import map_tensor
from deepseek.units import format_bytes

__all__ = ["read_safetensors"]

_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "U16": torch.uint16,
    "I16": torch.int16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "C64": torch.complex64,
}


def read_safetensors(path: Path) -> Checkpoint:
    """The checkpoint in a safetensors file; its tensors are mapped when asked for.

    Raises:
        InputError: The file is damaged, or holds a type that torch does not have.
    """
    header, begin = _header(path)
    infos = {name: _info(path, name, entry) for name, entry in header.items()}
    metadata = _metadata(path)

    def read(name: str) -> torch.Tensor:
        name = shared.get(name, name)
        info = infos[name]
        offset = begin + header[name]["data_offsets"][0]
        return map_tensor(path, offset=offset, dtype=info.dtype, shape=info.shape)

    # A name that was left out because its tensor is there under another one.
    shared = {
        name: holder for name, holder in metadata.items() if holder in infos and name not in infos
    }
    infos |= {name: infos[holder] for name, holder in shared.items()}
    return Checkpoint(
        source=path,
        format="safetensors",
        infos=infos,
        read=read,
        shared=shared,
        metadata=metadata,
        files=(path,),
    )


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """What the header says of each tensor, and where the data begin."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise InputError(
                f"{path}: expected a safetensors header of {format_bytes(length)}, "
                f"the file has {format_bytes(size)}: cut off or not a safetensors file"
            )
        with blamed_on(path, "a safetensors file"):
            with safe_open(path, framework="pt"):
                pass  # opening is what checks it
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
    return header, 8 + length


def _info(path: Path, name: str, entry: dict[str, Any]) -> TensorInfo:
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None:
        raise InputError(f"{path}: {name} is of type {entry['dtype']}, which torch does not have")
    return TensorInfo(shape=tuple(entry["shape"]), dtype=dtype)


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})
