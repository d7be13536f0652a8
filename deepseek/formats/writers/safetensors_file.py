"""Write a safetensors file tensor by tensor, with no more than one of them in memory.

The file: the length of the header in eight bytes, little-endian; the header, JSON that gives every
tensor's type, shape and place, padded with spaces to a multiple of eight; the tensors, row-major,
without gaps.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO

import torch

from deepseek.errors import InputError
from deepseek.formats.checkpoint import TensorInfo

__all__ = ["write_safetensors"]

_CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
    torch.float8_e8m0fnu: "F8_E8M0",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT = 8


def write_safetensors(
    path: Path,
    infos: Mapping[str, TensorInfo],
    read: Callable[[str], Iterable[torch.Tensor]],
    metadata: Mapping[str, str],
) -> None:
    """Write one file.

    Args:
        path: Where.
        infos: The tensors as they are to be written.
        read: Gives the elements of a tensor in row-major order, as flat pieces of its type.
        metadata: Text to carry along.

    Raises:
        InputError: A tensor has a type that the format cannot hold.
    """
    # Wide types first: every tensor then begins at a multiple of its element size.
    order = sorted(infos, key=lambda name: -infos[name].dtype.itemsize)
    with path.open("wb") as file:
        file.write(_header({name: infos[name] for name in order}, metadata))
        for name in order:
            _write_tensor(file, name, infos[name], read(name))


def _header(infos: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for name, info in infos.items():
        if info.dtype not in _CODES:
            raise InputError(f"safetensors has no type for {name}, a tensor of {info.dtype}")
        end = begin + info.bytes
        entries[name] = {
            "dtype": _CODES[info.dtype],
            "shape": list(info.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _write_tensor(
    file: IO[bytes], name: str, info: TensorInfo, content: Iterable[torch.Tensor]
) -> None:
    written = 0
    for piece in content:
        assert piece.dtype == info.dtype, f"{name}: {piece.dtype} is not {info.dtype}"
        data = piece.contiguous().view(torch.uint8).numpy().data
        file.write(data)
        written += len(data)
    assert written == info.bytes, f"{name}: wrote {written} bytes of {info.bytes}"
