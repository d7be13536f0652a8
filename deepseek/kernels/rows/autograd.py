"""The gradients of the row operators, registered with torch.

Norms, softmax and rotary have them. The embeddings have none: a call that would need one says so
when its backward runs.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from deepseek.kernels.rows import ops
from deepseek.kernels.rows.gradients import norm_gradients, softmax_gradient

__all__: list[str] = []
