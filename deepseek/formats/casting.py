"""Tensors on their way into a file: their type changed, piece by piece."""

from collections.abc import Iterator

import torch

from deepseek.formats.checkpoint import TensorInfo

__all__ = ["DTYPES", "cast", "cast_info", "pieces"]

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

_PIECE = 2**22  # elements; keeps what a cast or comparison needs beside the tensor near 100 MB


def cast_info(info: TensorInfo, dtype: torch.dtype | None) -> TensorInfo:
    """What a tensor will be: floating-point ones get ``dtype`` where it is given."""
    if dtype is None or not info.dtype.is_floating_point:
        return info
    return TensorInfo(shape=info.shape, dtype=dtype)


def cast(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """The tensor in the type it is written with, rounded to nearest even."""
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def pieces(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The elements of a tensor in row-major order, as flat tensors of a bounded size."""
    flat = tensor.detach().contiguous().reshape(-1)
    for begin in range(0, flat.numel(), _PIECE):
        yield flat[begin : begin + _PIECE]
