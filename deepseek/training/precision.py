"""What matrix products compute in; parameters, gradients and the loss stay float32."""

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["autocast"]

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context in which the forward pass runs."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_TYPES[precision])
