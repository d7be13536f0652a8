"""Lets AOTAutograd trace composite operators as they are, as long as nothing needs a gradient.

It would write ``linear`` as ``t`` and ``addmm``, attention as one of its implementations, and
``matmul`` as products of batches; kernels stand for the operators as the model wrote them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

__all__ = ["kept_whole"]

_aten = torch.ops.aten
_OPERATORS = (
    _aten.linear.default,
    _aten.layer_norm.default,
    _aten.rms_norm.default,
    _aten.scaled_dot_product_attention.default,
    _aten.softmax.int,
    _aten.log_softmax.int,
    _aten.matmul.default,
)


def kept_whole() -> AbstractContextManager[None]:
    """While it is entered, the operators that kernels stand for are traced without decomposition.

    It is torch.export's own means; where a version of torch has it no more, nothing is kept.
    """
    try:
        from torch.export.exported_program import _override_composite_implicit_decomp as override
    except ImportError:
        return nullcontext()
    kept: AbstractContextManager[None] = override(dict.fromkeys(_OPERATORS, _keep))
    return kept


def _keep(*_args: Any, **_kwargs: Any) -> Any:
    return NotImplemented
