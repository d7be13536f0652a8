"""Rotary position embedding as a function: queries and keys, turned by their positions' angles."""

from __future__ import annotations

from ctypes import addressof, c_byte
from typing import TYPE_CHECKING

from deepseek.errors import InputError
from deepseek.kernels.attend.operands import result, with_dense_rows
from deepseek.kernels.calls import DTYPES, keep, needs_torch
from deepseek.kernels.gemm.operands import form
from deepseek.kernels.memory import empty
from deepseek.kernels.rows.embeddings import outside
from deepseek.kernels.rows.operands import IDS, check_numbers
from deepseek.kernels.rows.spec import RotaryForm, chunk_for

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from torch import Tensor

    from deepseek.kernels.target import Target

__all__ = ["check_rotary", "rotary", "run_rotary"]


def rotary(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None = None,
    interleaved: bool = False,
) -> tuple[Tensor, Tensor]:
    """Turn pairs of elements: ``(a cos - b sin, b cos + a sin)``, as Su et al. (RoFormer) do.

    Only the first R elements of a head are turned, the others are copied.

    Args:
        q: ``(B, H, N, D)``, fp32 or bf16, any strides.
        k: ``(B, G, N, D)``, of the same dtype.
        cos: Without positions ``(N, R/2)`` or ``(B, N, R/2)``, the cosines of each token's angles;
            with positions ``(P, R/2)``, those of each position. fp32 or bf16.
        sin: The sines, likewise.
        positions: ``(N)`` or ``(B, N)``, int64 or int32.
        interleaved: Whether element 2i is turned with 2i + 1 (GPT-J), rather than element i with
            i + R/2 (Llama, GPT-NeoX).

    Returns:
        Both turned, with heads and tokens laid out in the order of ``q`` and ``k``.

    Raises:
        InputError: A shape, dtype or device does not fit, or a position is not in the tables.
    """
    if needs_torch(q, k, cos, sin, positions):
        from deepseek.kernels.rows import ops

        both: tuple[Tensor, Tensor] = ops.rotary(q, k, cos, sin, positions, interleaved)
        return both
    return run_rotary(q, k, cos, sin, positions, interleaved)


def check_rotary(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None) -> None:
    """Refuse operands of a rotation that do not fit.

    Raises:
        InputError: They do not.
    """
    for name, operand in (("q", q), ("k", k)):
        if operand.dim() != 4:
            raise InputError(
                f"expected `{name}` of shape (batch, heads, length, depth), "
                f"got {tuple(operand.shape)}"
            )
    batch, _, tokens, depth = q.shape
    if (k.shape[0], *k.shape[2:]) != (batch, tokens, depth):
        raise InputError(
            f"expected `k` of shape ({batch}, heads, {tokens}, {depth}), got {tuple(k.shape)}"
        )
    for name, operand in (("q", q), ("k", k), ("cos", cos), ("sin", sin)):
        check_numbers(name, operand, q)
    if k.dtype != q.dtype:
        raise InputError(f"expected `k` of the dtype of `q`, {q.dtype}, got {k.dtype}")
    if sin.shape != cos.shape or sin.dtype != cos.dtype:
        raise InputError(
            f"expected `sin` of the shape and dtype of `cos`, {tuple(cos.shape)} {cos.dtype}, "
            f"got {tuple(sin.shape)} {sin.dtype}"
        )
    _check_tables(cos, positions, batch, tokens, depth)
    if positions is not None and positions.device != q.device:
        raise InputError(f"expected `positions` on {q.device}, got {positions.device}")


def _check_tables(
    cos: Tensor, positions: Tensor | None, batch: int, tokens: int, depth: int
) -> None:
    if positions is None:
        leading: tuple[tuple[int, ...], ...] = ((tokens,), (batch, tokens))
        expected = f"({tokens}, half) or ({batch}, {tokens}, half)"
    else:
        leading, expected = ((cos.shape[0] if cos.dim() else 0,),), "(positions, half)"
        if positions.dtype not in IDS:
            raise InputError(f"expected `positions` of int64 or int32, got {positions.dtype}")
        if positions.shape not in ((tokens,), (batch, tokens)):
            raise InputError(
                f"expected `positions` of shape ({tokens},) or ({batch}, {tokens}), "
                f"got {tuple(positions.shape)}"
            )
    if not cos.dim() or tuple(cos.shape[:-1]) not in leading or 2 * cos.shape[-1] > depth:
        raise InputError(
            f"expected `cos` of shape {expected}, with half at most {depth // 2}, "
            f"got {tuple(cos.shape)}"
        )


_calls: dict[Hashable, Callable[..., tuple[Tensor, Tensor]]] = {}


def run_rotary(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None,
    interleaved: bool,
    target: Target | None = None,
) -> tuple[Tensor, Tensor]:
    """The rotation, by our kernel."""
    key = (form(q), form(k), form(cos), form(sin), form(positions), interleaved, target)
    call = _calls.get(key)
    if call is None:
        call = keep(_calls, key, _prepare(q, k, cos, sin, positions, interleaved, target))
    return call(q, k, cos, sin, positions)


def _prepare(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None,
    interleaved: bool,
    target: Target | None,
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Check operands of these looks, and find out how to run them.

    Returns:
        A function of ``(q, k, cos, sin, positions)``, for operands of the same looks.
    """
    check_rotary(q, k, cos, sin, positions)
    if not q.numel() and not k.numel():
        return lambda q, k, *_: (result(q, *q.shape[1:]), result(k, *k.shape[1:]))
    dense = [with_dense_rows(x) for x in (q, k, cos, sin)]
    nothing_there = positions is not None and not cos.shape[0]
    if nothing_there or any(a is not b for a, b in zip(dense, (q, k, cos, sin), strict=True)):
        return _laid_out_anew(interleaved, target)

    from deepseek.kernels.jit import kernel
    from deepseek.kernels.parallel import run
    from deepseek.kernels.rows.rotary_kernel import ARGUMENTS, build_rotary

    batch, heads, tokens, depth = q.shape
    compiled = kernel(
        build_rotary,
        RotaryForm(
            DTYPES[q.dtype], DTYPES[cos.dtype],
            None if positions is None else IDS[positions.dtype], interleaved,
        ),
        target=target,
    )  # fmt: skip
    results = result(q, *q.shape[1:]), result(k, *k.shape[1:])
    pack = ARGUMENTS.bind(
        tokens, heads, k.shape[1], depth, cos.shape[-1], cos.shape[0],
        *(step for x in (q, k, *results) for step in x.stride()[:3]),
        *_token_strides(cos.stride()[:-1]), *_token_strides(sin.stride()[:-1]),
        *_token_strides(() if positions is None else positions.stride()),
    )  # fmt: skip
    looks = [(x.shape, x.dtype, x.stride()) for x in results]
    units, chunk = batch * tokens, chunk_for((heads + k.shape[1]) * depth)

    def call(
        q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        q_out, k_out = (empty(shape, dtype, steps) for shape, dtype, steps in looks)
        failed = c_byte()
        arguments = pack(
            *(x.data_ptr() for x in (q, k, q_out, k_out, cos, sin)),
            0 if positions is None else positions.data_ptr(),
            addressof(failed),
        )
        run(compiled, arguments, units, chunk, failed)
        if failed.value and positions is not None:
            raise outside("positions", positions, cos.shape[0]) or AssertionError
        return q_out, k_out

    return call


def _token_strides(strides: tuple[int, ...]) -> tuple[int, int]:
    """From one batch to the next, and from one token to the next."""
    return (0, 0) if not strides else (strides[0] if len(strides) > 1 else 0, strides[-1])


def _laid_out_anew(
    interleaved: bool, target: Target | None
) -> Callable[..., tuple[Tensor, Tensor]]:
    """A call whose operands are first brought into a form that the kernel takes."""

    def call(
        q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        error = None if positions is None else outside("positions", positions, cos.shape[0])
        if error is not None:
            raise error
        turned = run_rotary(
            with_dense_rows(q), with_dense_rows(k), with_dense_rows(cos), with_dense_rows(sin),
            positions, interleaved, target,
        )  # fmt: skip
        q_out, k_out = result(q, *q.shape[1:]), result(k, *k.shape[1:])
        return q_out.copy_(turned[0]), k_out.copy_(turned[1])

    return call
