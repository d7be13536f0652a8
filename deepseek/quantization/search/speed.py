"""Is a layer faster in INT8 on this processor? Both forms are run, by turns.

At the shapes that calibration data has: how much work a layer gets for one reading of its weights
decides which form wins. Layers of the same form and shape are timed once.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deepseek.progress import Progress
from deepseek.quantization.batches import Batch, Batches
from deepseek.quantization.inspection import input_shapes
from deepseek.quantization.search.units import Unit

__all__ = ["Times", "has_vnni", "middle_batch", "time_calls", "time_units"]

_LEAST, _MOST = 5, 25  # runs of each form
_SECONDS = 0.1  # for both forms together, once there were enough runs
_FEATURES = ("avx512_vnni", "avx_vnni", "amx_int8", "vnni")


class Times(NamedTuple):
    """Seconds that a unit takes on a batch of calibration data.

    Attributes:
        before: In floating point.
        after: Quantized.
    """

    before: float
    after: float


def has_vnni() -> bool:
    """Whether the processor has instructions for sums of products of 8-bit integers."""
    found = torch.cpu.get_capabilities()
    return any(bool(found.get(name)) for name in _FEATURES)


def time_units(
    original: nn.Module,
    quantized: nn.Module,
    units: Sequence[Unit],
    batches: Batches,
    progress: Progress,
) -> dict[str, Times]:
    """Time the layers of units in both forms; units whose layers do not run are left out.

    Args:
        original: In floating point.
        quantized: All units quantized.
        units: To be timed.
        batches: Calibration data; the shapes are those of a batch from its middle.
        progress: Told of units timed.
    """
    layers = [layer for unit in units for layer in unit.layers]
    shapes = input_shapes(original, layers, middle_batch(batches))
    known: dict[object, Times] = {}
    times = {}
    for done, unit in enumerate(units):
        progress("timing layers", done, len(units))
        ran = [layer for layer in unit.layers if layer in shapes]
        found = [
            _time_layer(
                original.get_submodule(layer), quantized.get_submodule(layer), shapes[layer], known
            )
            for layer in ran
        ]
        if found:
            times[unit.name] = Times(sum(t.before for t in found), sum(t.after for t in found))
    progress("timing layers", len(units), len(units))
    return times


def middle_batch(batches: Batches) -> Batch:
    """A batch from the middle of the data, of usual length."""
    for number, batch in enumerate(batches):
        if number == len(batches) // 2:
            return batch
    raise AssertionError("there is no batch")


def _time_layer(
    before: nn.Module, after: nn.Module, given: Tensor, known: dict[object, Times]
) -> Times:
    key = (_form(before), _form(after), given.shape, given.dtype)
    if key not in known:
        known[key] = time_pair(before, after, _input(given))
    return known[key]


def _form(module: nn.Module) -> tuple[object, ...]:
    tensors: Mapping[str, Tensor] = module.state_dict()
    shapes = tuple((name, t.shape, t.dtype) for name, t in tensors.items())
    return type(module), shapes, module.extra_repr()


def _input(given: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if not given.dtype.is_floating_point:
        return torch.zeros(given.shape, dtype=given.dtype)
    return torch.randn(given.shape, generator=generator).to(given.dtype)


def time_pair(before: nn.Module, after: nn.Module, x: Tensor) -> Times:
    """Run two modules on an input by turns; the medians."""
    return time_calls(lambda: before(x), lambda: after(x))


def time_calls(before: Callable[[], object], after: Callable[[], object]) -> Times:
    """Call two functions by turns; the medians."""
    pairs: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():
        for call in (before, after, before, after):
            call()  # lays out weights, wakes threads
        end = time.perf_counter() + _SECONDS
        while len(pairs[0]) < _MOST and (len(pairs[0]) < _LEAST or time.perf_counter() < end):
            for call, seconds in zip((before, after), pairs, strict=True):
                began = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - began)
    return Times(median(pairs[0]), median(pairs[1]))
