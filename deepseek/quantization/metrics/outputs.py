"""What a model gives, and of which kind it is."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.quantization.batches import Batch

__all__ = ["Kind", "kind_of", "output_tensor", "token_mask"]

Kind = Literal["classes", "label sets", "a score", "next tokens", "tokens", "states"]


def output_tensor(outputs: Any) -> Tensor:
    """The tensor of a model's outputs that is compared: logits, or else hidden states.

    Raises:
        InputError: There is neither.
    """
    if isinstance(outputs, Tensor):
        return outputs
    for name in ("logits", "last_hidden_state"):
        tensor = getattr(outputs, name, None)
        if isinstance(tensor, Tensor):
            return tensor
    raise InputError(
        f"expected a model that gives logits or hidden states, found {type(outputs).__name__}"
    )


def kind_of(model: nn.Module, outputs: Any) -> Kind:
    """What the outputs of a model on a batch are.

    Raises:
        InputError: They are of no kind that can be compared.
    """
    tensor = output_tensor(outputs)
    if tensor.ndim == 3:
        if not isinstance(outputs, Tensor) and getattr(outputs, "logits", None) is None:
            return "states"
        name = getattr(model, "architecture", None) or type(model).__name__
        writes = str(name).endswith(("ForCausalLM", "LMHeadModel"))
        return "next tokens" if writes else "tokens"
    if tensor.ndim != 2:
        raise InputError(
            f"expected outputs of two dimensions (classes) or three (tokens), found {tensor.ndim}"
        )
    if tensor.shape[1] < 2:
        return "a score"
    settings = getattr(model, "config", None)
    several = getattr(settings, "problem_type", None) == "multi_label_classification"
    return "label sets" if several else "classes"


def token_mask(tokens: Tensor, batch: Batch) -> Tensor:
    """Which tokens count: ``[records, tokens]``."""
    mask = batch.inputs.get("attention_mask")
    if mask is None or mask.shape != tokens.shape[:2]:
        return torch.ones(tokens.shape[:2], dtype=torch.bool)
    return mask.bool()
