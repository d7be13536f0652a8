"""The outputs of a model of transformers, as named tensors."""

import inspect
from collections.abc import Mapping

import torch

__all__ = ["outputs_of"]


def outputs_of(
    model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Run a model; every output that is one tensor, by its name, caches left out."""
    parameters = inspect.signature(model.forward).parameters
    options = {"use_cache": False} if "use_cache" in parameters else {}
    outputs = model(**inputs, **options, return_dict=True)
    return {name: value for name, value in outputs.items() if isinstance(value, torch.Tensor)}
