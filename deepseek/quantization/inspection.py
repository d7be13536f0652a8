"""Look at what passes through the layers of a model while it runs on a batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from deepseek.quantization.batches import Batch

__all__ = ["first_bad_layer", "input_ranks", "input_shapes"]

_Look = Callable[[str, tuple[Any, ...], Any], None]


def input_ranks(model: nn.Module, names: Sequence[str], batch: Batch) -> dict[str, int]:
    """How many dimensions the input of each layer has; layers that do not run are not in it."""
    ranks: dict[str, int] = {}

    def look(name: str, inputs: tuple[Any, ...], output: Any) -> None:
        del output
        if inputs and isinstance(inputs[0], Tensor):
            ranks[name] = inputs[0].ndim

    with _looking(model, names, look):
        model(**batch.inputs)
    return ranks


def input_shapes(model: nn.Module, names: Sequence[str], batch: Batch) -> dict[str, Tensor]:
    """Tensors without content, of the shape and type of each layer's input; see ``input_ranks``."""
    shapes: dict[str, Tensor] = {}

    def look(name: str, inputs: tuple[Any, ...], output: Any) -> None:
        del output
        if inputs and isinstance(inputs[0], Tensor):
            shapes[name] = torch.empty(inputs[0].shape, dtype=inputs[0].dtype, device="meta")

    with _looking(model, names, look):
        model(**batch.inputs)
    return shapes


def first_bad_layer(model: nn.Module, batch: Batch) -> str | None:
    """The first layer, in the order they run, that gives NaN or infinity on a batch."""
    bad: list[str] = []

    def look(name: str, inputs: tuple[Any, ...], output: Any) -> None:
        del inputs
        if isinstance(output, Tensor) and not output.isfinite().all():
            bad.append(name)

    leaves = [name for name, module in model.named_modules() if not any(module.children())]
    with _looking(model, leaves, look):
        model(**batch.inputs)
    return bad[0] if bad else None


@contextmanager
def _looking(model: nn.Module, names: Sequence[str], look: _Look) -> Iterator[None]:
    def hook(name: str) -> Any:
        return lambda _module, inputs, output: look(name, inputs, output)

    handles = [model.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        with torch.inference_mode():
            yield
    finally:
        for handle in handles:
            handle.remove()
