"""Histograms of activations, and the range that is read off them.

Batches are seen twice: once for the ends of the range, once to count what lies in each of its bins.
Nothing else is kept, however many batches there are. The observers are those of the field: the
whole range; all but a share of the numbers; the least squared error (as in Banner et al., 2019);
and the least divergence of the rounded distribution from the true one (Migacz, 8-bit Inference
with TensorRT, 2017), over ranges that shrink towards zero.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["OBSERVERS", "Histogram", "scale_and_zero"]

_BINS = 2048
_LEVELS = 256
_LEFT_OUT = 1e-4  # share of numbers that percentile leaves beyond the range, both ends together
_RATIOS = torch.linspace(1.0, 0.1, 46).tolist()  # of the range that are tried
_TINY = 1e-12


@dataclass(slots=True)
class Histogram:
    """How often numbers of a stream fall into each bin between its least and its greatest.

    Attributes:
        low: The least number seen, at most 0.
        high: The greatest, at least 0.
        counts: ``[bins]``.
    """

    low: float = 0.0
    high: float = 0.0
    counts: Tensor = field(default_factory=lambda: torch.zeros(_BINS, dtype=torch.float64))

    def widen(self, rows: Tensor) -> None:
        """See numbers for the first time."""
        if rows.numel():
            least, most = rows.aminmax()
            self.low, self.high = min(self.low, float(least)), max(self.high, float(most))

    def count(self, rows: Tensor) -> None:
        """See the same numbers again."""
        if self.high > self.low:
            self.counts += torch.histc(rows, _BINS, self.low, self.high).double()

    @property
    def middles(self) -> Tensor:
        """The number in the middle of each bin, ``[bins]``."""
        width = (self.high - self.low) / _BINS
        return self.low + width * (torch.arange(_BINS, dtype=torch.float64) + 0.5)


Observer = Callable[[Histogram], tuple[float, float]]
"""From a histogram to the least and the greatest number that are told apart."""


def _minmax(seen: Histogram) -> tuple[float, float]:
    return seen.low, seen.high


def _percentile(seen: Histogram) -> tuple[float, float]:
    share = seen.counts.cumsum(0) / seen.counts.sum().clamp(min=1)
    edges = torch.linspace(seen.low, seen.high, _BINS + 1, dtype=torch.float64)
    first = int((share <= _LEFT_OUT / 2).sum())
    last = int((share < 1 - _LEFT_OUT / 2).sum())
    return min(0.0, float(edges[first])), max(0.0, float(edges[min(last + 1, _BINS)]))


def _mse(seen: Histogram) -> tuple[float, float]:
    """Both ends are tried by themselves."""
    low, high, middles = seen.low, seen.high, seen.middles

    def error(ends: tuple[float, float]) -> float:
        return float(((_rounded(middles, *ends) - middles).square() * seen.counts).sum())

    tried = _RATIOS[::3]
    return min(((low * a, high * b) for a in tried for b in tried), key=error)


def _entropy(seen: Histogram) -> tuple[float, float]:
    return min(
        ((seen.low * r, seen.high * r) for r in _RATIOS), key=lambda e: _divergence(seen, *e)
    )


def _divergence(seen: Histogram, low: float, high: float) -> float:
    """Of what is told apart within a range from the counts, what lies beyond at its ends."""
    middles, counts = seen.middles, seen.counts
    inside = (middles >= low) & (middles <= high)
    if not inside.any():
        return float("inf")
    true = counts[inside].clone()
    true[0] += counts[middles < low].sum()
    true[-1] += counts[middles > high].sum()
    level = ((middles[inside] - low) / max(high - low, _TINY) * (_LEVELS - 1)).round().long()
    # Each level's count is spread evenly over its bins that are not empty.
    filled = (counts[inside] > 0).double()
    sums = torch.zeros(_LEVELS, dtype=torch.float64).scatter_add_(0, level, counts[inside])
    bins = torch.zeros(_LEVELS, dtype=torch.float64).scatter_add_(0, level, filled)
    rounded = (sums / bins.clamp(min=1))[level] * filled
    p, q = true / true.sum().clamp(min=_TINY), rounded / rounded.sum().clamp(min=_TINY)
    return float((p * ((p + _TINY) / (q + _TINY)).log()).sum())


def _rounded(numbers: Tensor, low: float, high: float) -> Tensor:
    step = max((high - low) / (_LEVELS - 1), _TINY)
    return ((numbers - low) / step).round().clamp(0, _LEVELS - 1) * step + low


OBSERVERS: Mapping[str, Observer] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}


def scale_and_zero(low: float, high: float) -> tuple[Tensor, Tensor]:
    """The scale and the INT8 zero point, ``[1]`` each, that spread INT8 over a range."""
    scale = max((high - low) / 255, torch.finfo(torch.float32).eps)
    zero = round(min(max(-128 - low / scale, -128), 127))
    return torch.tensor([scale]), torch.tensor([zero], dtype=torch.int8)
