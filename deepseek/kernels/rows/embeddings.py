"""Embeddings as functions: rows of tables by their numbers, added up."""

from __future__ import annotations

from ctypes import addressof, c_byte
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.kernels.calls import DTYPES, keep, needs_torch
from deepseek.kernels.gemm.operands import form
from deepseek.kernels.memory import empty
from deepseek.kernels.rows.operands import (
    IDS,
    broadcast_ids,
    check_numbers,
    check_same,
    levels,
    name_of,
    result_dtype,
)
from deepseek.kernels.rows.spec import EmbeddingForm, chunk_for

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from deepseek.kernels.target import Target

__all__ = ["check_embedding", "embedding", "embedding_layer_norm", "outside", "run_embedding"]

_MOST_TABLES = 8


def embedding(
    ids: Tensor | Sequence[Tensor],
    tables: Tensor | Sequence[Tensor],
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """``sum(table[ids])`` over pairs of ids and tables: words, positions and types in one pass.

    One table alone is left to torch's own operator: copying rows is all there is to do.

    Args:
        ids: int64 or int32 tensors, one a table, whose shapes broadcast together: positions of
            ``(T)`` go with words of ``(B, T)``.
        tables: fp32 or bf16 ``(rows, width)``, at most 8.
        out_dtype: fp32 or bf16; that of the first table unless given.

    Returns:
        ``(*ids, width)``, contiguous.

    Raises:
        InputError: A shape, dtype or device does not fit, or an id names no row.
    """
    ids, tables = _listed(ids), _listed(tables)
    if needs_torch(*ids, *tables):
        from deepseek.kernels.rows import ops

        y: Tensor = ops.embedding(ids, tables, out_dtype)
        return y
    if len(ids) == len(tables) == 1:
        return _one_table(ids[0], tables[0], out_dtype)
    return run_embedding(ids, tables, None, None, None, out_dtype)


def _one_table(ids: Tensor, table: Tensor, out_dtype: torch.dtype | None) -> Tensor:
    check_embedding([ids], [table])
    dtype = result_dtype(table.dtype, out_dtype)
    try:
        return torch.embedding(table, ids).to(dtype)
    except IndexError:
        error = outside("ids[0]", ids, table.shape[0])
        raise error or AssertionError from None


def embedding_layer_norm(
    ids: Tensor | Sequence[Tensor],
    tables: Tensor | Sequence[Tensor],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-12,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """The layer norm of :func:`embedding`, as BERT begins, in the same pass.

    Args:
        ids: As for :func:`embedding`; so are the errors.
        tables: Likewise.
        weight: ``(width)``.
        bias: ``(width)``.
        eps: Added to the variance.
        out_dtype: Likewise.
    """
    ids, tables = _listed(ids), _listed(tables)
    if needs_torch(*ids, *tables, weight, bias):
        from deepseek.kernels.rows import ops

        y: Tensor = ops.embedding_layer_norm(ids, tables, weight, bias, eps, out_dtype)
        return y
    return run_embedding(ids, tables, weight, bias, eps, out_dtype)


def check_embedding(
    ids: Sequence[Tensor],
    tables: Sequence[Tensor],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
) -> torch.Size:
    """The shape of the result without its width, after everything has been found to fit.

    Raises:
        InputError: It does not.
    """
    if len(ids) != len(tables) or not 0 < len(tables) <= _MOST_TABLES:
        raise InputError(
            f"expected as many `ids` as `tables`, 1 to {_MOST_TABLES}, "
            f"got {len(ids)} and {len(tables)}"
        )
    first = tables[0]
    for index, table in enumerate(tables):
        if table.dim() != 2 or table.shape[1] != first.shape[-1]:
            expected = f"(rows, {first.shape[-1]})" if first.dim() == 2 else "(rows, width)"
            raise InputError(
                f"expected `tables[{index}]` of shape {expected}, got {tuple(table.shape)}"
            )
        check_numbers(f"tables[{index}]", table, first)
        if ids[index].device != first.device:
            raise InputError(f"expected `ids[{index}]` on {first.device}, got {ids[index].device}")
    check_same("weight", weight, (first.shape[1],), first)
    check_same("bias", bias, (first.shape[1],), first)
    return broadcast_ids(ids)


def outside(name: str, ids: Tensor, rows: int) -> InputError | None:
    """The error of the first number that a table of so many rows has not; None if it has all."""
    wrong = ids[(ids < 0) | (ids >= rows)]
    if not wrong.numel():
        return None
    return InputError(f"expected `{name}` of at least 0 and below {rows}, got {int(wrong[0])}")


_calls: dict[Hashable, Callable[..., Tensor]] = {}


def run_embedding(
    ids: Sequence[Tensor],
    tables: Sequence[Tensor],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float | None,
    out_dtype: torch.dtype | None,
    target: Target | None = None,
) -> Tensor:
    """The sum of rows, normalized where ``eps`` is given, by our kernel."""
    key = (
        tuple(map(form, ids)), tuple(map(form, tables)), form(weight), form(bias),
        eps, out_dtype, target,
    )  # fmt: skip
    call = _calls.get(key)
    if call is None:
        call = keep(_calls, key, _prepare(ids, tables, weight, bias, eps, out_dtype, target))
    return call(ids, tables, weight, bias)


def _prepare(
    ids: Sequence[Tensor],
    tables: Sequence[Tensor],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float | None,
    out_dtype: torch.dtype | None,
    target: Target | None,
) -> Callable[..., Tensor]:
    """Check operands of these looks, and find out how to run them.

    Returns:
        A function of ``(ids, tables, weight, bias)``, for operands of the same looks.
    """
    leading = check_embedding(ids, tables, weight, bias)
    out = result_dtype(tables[0].dtype, out_dtype)
    width = tables[0].shape[1]
    shape, units = (*leading, width), prod(leading)
    if not units:
        return lambda _ids, tables, *_: tables[0].new_empty(shape, dtype=out)
    gapless = all(x is None or x.is_contiguous() for x in (*tables, weight, bias))
    found = levels(leading, [x.expand(leading).stride() for x in ids])
    if found is None or not gapless or not all(table.shape[0] for table in tables):
        return _laid_out_anew(leading, eps, out_dtype, target)

    from deepseek.kernels.jit import kernel
    from deepseek.kernels.parallel import run
    from deepseek.kernels.rows.embedding_kernel import arguments_for, build_embedding

    middle, inner, strides = found
    compiled = kernel(
        build_embedding,
        EmbeddingForm(
            tuple(IDS[x.dtype] for x in ids), tuple(DTYPES[x.dtype] for x in tables), DTYPES[out],
            eps is not None, name_of(weight), name_of(bias),
        ),
        target=target,
    )  # fmt: skip
    sizes = [n for x, steps in zip(tables, strides, strict=True) for n in (x.shape[0], *steps)]
    pack = arguments_for(len(tables)).bind(eps or 0.0, width, middle, inner, *sizes)
    chunk = chunk_for(width)

    def call(
        ids: Sequence[Tensor],
        tables: Sequence[Tensor],
        weight: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        y = empty(shape, out)
        failed = c_byte()
        pairs = zip(ids, tables, strict=True)
        arguments = pack(
            *[address for i, t in pairs for address in (i.data_ptr(), t.data_ptr())],
            0 if weight is None else weight.data_ptr(),
            0 if bias is None else bias.data_ptr(),
            y.data_ptr(),
            addressof(failed),
        )
        run(compiled, arguments, units, chunk, failed)
        if failed.value:
            _raise_outside(ids, tables)
        return y

    return call


def _raise_outside(ids: Sequence[Tensor], tables: Sequence[Tensor]) -> None:
    for index, (numbers, table) in enumerate(zip(ids, tables, strict=True)):
        error = outside(f"ids[{index}]", numbers, table.shape[0])
        if error is not None:
            raise error


def _laid_out_anew(leading: torch.Size, *options: Any) -> Callable[..., Tensor]:
    """A call whose operands are first brought into a form that the kernel takes."""

    def call(
        ids: Sequence[Tensor],
        tables: Sequence[Tensor],
        weight: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        _raise_outside(ids, tables)  # a table may have no row at all
        return run_embedding(
            [x.expand(leading).contiguous() for x in ids],
            [x.contiguous() for x in tables],
            None if weight is None else weight.contiguous(),
            None if bias is None else bias.contiguous(),
            *options,
        )

    return call


def _listed(tensors: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else tensors
