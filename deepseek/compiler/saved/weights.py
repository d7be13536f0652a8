"""Weights of a saved model: a safetensors file that is mapped, and checked before it is used.

The digest, XXH3 of 128 bits, finds damage at the speed of memory. SHA-256 took half of all loading
and protects no better: whoever can write the weights can write what the manifest says of them. Each
piece of the file has a digest, so that several threads check it at once.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from xxhash import xxh3_128_hexdigest

from deepseek.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

__all__ = ["read_weights", "write_weights"]

_PIECE = 16 << 20
_THREADS = 4
_LENGTH = 8  # bytes that say how long the header is
_LINE = 64
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool, "C64": torch.complex64,
}  # fmt: skip
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def write_weights(tensors: Mapping[str, Tensor], file: Path) -> dict[str, Any]:
    """Write contiguous tensors, and return what the manifest says of the file.

    Weights, whose sizes are multiples of 64 bytes, begin at such: kernels load whole registers.

    Raises:
        InputError: A tensor has a type that such files cannot hold.
    """
    order = sorted(tensors, key=lambda name: _place(tensors[name]))
    header: dict[str, Any] = {}
    end = 0
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in _CODES:
            raise InputError(f"expected weights that can be written, got a tensor {tensor.dtype}")
        begin, end = end, end + tensor.nbytes
        looks = {"dtype": _CODES[tensor.dtype], "shape": list(tensor.shape)}
        header[name] = {**looks, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(_LENGTH + len(text)) % _LINE)
    with file.open("w+b") as stream:
        stream.write(len(text).to_bytes(_LENGTH, "little") + text)
        for name in order:
            stream.write((ctypes.c_char * tensors[name].nbytes).from_address(
                tensors[name].data_ptr()
            ))  # fmt: skip
        size = stream.tell()
        stream.seek(0)
        digests = [xxh3_128_hexdigest(stream.read(_PIECE)) for _ in range(0, size, _PIECE)]
    return {"bytes": size, "xxh3_128": digests}


def _place(tensor: Tensor) -> tuple[bool, int]:
    """Whole lines first, wide types before others: each begins at a multiple of its elements."""
    return tensor.nbytes % _LINE != 0, -tensor.dtype.itemsize


def read_weights(file: Path, written: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a file, by name, in memory that is shared with whoever reads it too.

    Args:
        file: Its place.
        written: What the manifest says of it.

    Raises:
        InputError: It cannot be read, or it is not as it was written.
    """
    size, digests = written["bytes"], written["xxh3_128"]
    try:
        with file.open("rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise InputError(f"expected a readable {file}: {error.strerror}") from error
    except ValueError:  # an empty file cannot be mapped
        content = None
    if content is None or len(content) != size or _digests(content) != digests:
        raise InputError(f"expected {file} as it was written, found it changed")
    start = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    return {
        name: _tensor(content, start, **looks)
        for name, looks in json.loads(content[_LENGTH:start]).items()
    }


def _digests(content: mmap.mmap) -> list[str]:
    def digest(begin: int) -> str:
        return xxh3_128_hexdigest(whole[begin : begin + _PIECE])

    with (
        memoryview(content) as whole,
        ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool,
    ):
        return list(pool.map(digest, range(0, len(whole), _PIECE)))


def _tensor(
    content: mmap.mmap, start: int, dtype: str, shape: list[int], data_offsets: list[int]
) -> Tensor:
    if not prod(shape):
        return torch.empty(shape, dtype=_DTYPES[dtype])
    flat = torch.frombuffer(
        content, dtype=_DTYPES[dtype], count=prod(shape), offset=start + data_offsets[0]
    )
    return flat.view(shape)
