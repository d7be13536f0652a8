"""Attention that torch's own kernel does faster: of bf16, where the processor has AMX.

Our kernels widen bf16 to fp32. Torch's multiply it by tiles; on a Xeon they took 0.4 of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from deepseek.kernels import amx
from deepseek.kernels.attend.spec import FEW
from deepseek.kernels.parallel import listened

if TYPE_CHECKING:
    from torch import Tensor

    from deepseek.kernels.target import Target

__all__ = ["aten_attention", "is_for_aten"]


def is_for_aten(q: Tensor, k: Tensor, v: Tensor, causal: bool, target: Target) -> bool:
    """Whether torch computes the same, and faster: many queries, nothing masked, no grouped heads.

    A call that somebody writes down must be made of our kernels.
    """
    return (
        q.dtype == torch.bfloat16
        and target.amx
        and q.dim() == 4
        and q.shape[2] > FEW
        and q.shape[:2] == k.shape[:2]
        and k.shape == v.shape
        and q.shape[3] == k.shape[3]
        and 0 not in q.shape
        and 0 not in k.shape
        and (not causal or q.shape == k.shape)
        and k.dtype == v.dtype == q.dtype
        and not listened()
        and amx.allowed()
    )


def aten_attention(
    q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float | None
) -> tuple[Tensor, Tensor]:
    """The result and the log-sum-exp, laid out as our kernels do."""
    run = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 - no other has the log-sum-exp
    out, lse = run(q, k, v, 0.0, causal, scale=scale)
    rows_first = q.stride(1) < q.stride(2) and q.shape[1] > 1
    return out if rows_first else out.contiguous(), lse.contiguous()
