"""From what people hand over (lists, numbers, arrays, tensors) to the bytes of a field."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.data.packed.field import DTYPES, Field
from deepseek.errors import InputError

__all__ = ["rows_of"]

_WHOLE = "iub"  # numpy's kinds of whole numbers


def rows_of(field: Field, value: object) -> NDArray[Any]:
    """The value of a field as contiguous numbers of its type, nothing of it lost unsaid.

    Args:
        field: What is expected; of a ragged field the first dimension of the value is free.
        value: A number, a nested list, a numpy array or a tensor.

    Raises:
        InputError: The shape is another, or the numbers do not fit the type.
    """
    array = _bfloat16(field, value) if field.dtype == "bfloat16" else _array(field, value)
    shape = array.shape[1:] if field.ragged and array.ndim else array.shape
    if shape != field.shape or (field.ragged and not array.ndim):
        raise InputError(f"expected {field}, got the shape {list(array.shape)}")
    return np.ascontiguousarray(array).reshape(array.shape)


def _array(field: Field, value: object) -> NDArray[Any]:
    wanted = np.dtype(DTYPES[field.dtype].numpy)
    array = _plain(field, value)
    if array.dtype == wanted:
        return array
    if not array.size:
        return array.astype(wanted) if array.dtype.kind != "O" else array
    if not _fits(array, wanted):
        raise InputError(f"expected {field}, got {_found(array)}")
    return array.astype(wanted)


def _plain(field: Field, value: object) -> NDArray[Any]:
    if hasattr(value, "detach"):  # a tensor; torch is not imported for those who have none
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise InputError(f"expected {field}, got lists of different lengths") from error
    if not array.size and field.ragged and array.ndim == 1:
        return np.empty((0, *field.shape), DTYPES[field.dtype].numpy)
    return array


def _fits(array: NDArray[Any], wanted: np.dtype[Any]) -> bool:
    if wanted.kind == "b":
        return False
    if array.dtype.kind in _WHOLE and wanted.kind in "iu":
        limits = np.iinfo(wanted)
        return int(array.min()) >= limits.min and int(array.max()) <= limits.max
    return array.dtype.kind in "iuf" and np.can_cast(array.dtype, wanted, "same_kind")


def _found(array: NDArray[Any]) -> str:
    if array.dtype.kind in _WHOLE:
        return f"numbers from {array.min()} to {array.max()}"
    return f"{array.dtype.name} values"


def _bfloat16(field: Field, value: object) -> NDArray[Any]:
    import torch

    plain = value.float() if isinstance(value, torch.Tensor) else value
    array = _plain(field, plain)
    if array.dtype.kind not in "iuf":
        raise InputError(f"expected {field}, got {_found(array)}")
    rounded = torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
    return rounded.view(torch.uint16).numpy()
