"""Show calibration batches to a model and what enters its layers to whoever asks; keep nothing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.progress import Progress
from deepseek.quantization.batches import Batch, Batches

__all__ = ["stream_inputs"]

See = Callable[[str, Tensor], None]


def stream_inputs(
    model: nn.Module, names: Sequence[str], batches: Batches, see: See, progress: Progress
) -> None:
    """Run a model on all batches.

    Args:
        model: In eval mode.
        names: Layers to look at.
        batches: At least one.
        see: Called with the name of a layer and what enters it: fp32, ``[tokens, features]``,
            without padding.
        progress: Told how many batches are done.

    Raises:
        InputError: NaN or infinity enters a layer, which is named; or no batch is there.
    """
    count = 0
    for batch in batches:
        progress("calibrating", count, len(batches))
        with _seeing(model, names, batch, see), torch.no_grad():
            model(**batch.inputs)
        count += 1
    if not count:
        raise InputError("expected calibration data, found none")
    progress("calibrating", count, count)


@contextmanager
def _seeing(model: nn.Module, names: Sequence[str], batch: Batch, see: See) -> Iterator[None]:
    def hook(name: str) -> Any:
        def look(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            rows = _rows(inputs[0], batch)
            if not rows.isfinite().all():
                raise InputError(
                    f"expected finite activations, found NaN or infinity into layer {name}"
                )
            see(name, rows)

        return look

    handles = [model.get_submodule(name).register_forward_pre_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _rows(x: Tensor, batch: Batch) -> Tensor:
    """The tokens of an input that are no padding, one a row."""
    mask = batch.inputs.get("attention_mask")
    if mask is not None and x.ndim == 3 and mask.shape == x.shape[:2]:
        x = x[mask.bool()]
    return x.detach().reshape(-1, x.shape[-1]).float()
