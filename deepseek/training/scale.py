"""The scale of the loss that keeps float16 gradients from vanishing.

It is decided by the norm of the whole gradient, which every process knows, so that all processes
of any layout agree without another exchange.
"""

from dataclasses import dataclass
from math import isfinite

__all__ = ["LossScale"]

_HIGHEST = 2.0**24
_LOWEST = 2.0**-14  # below it no gradient of float16 was ever finite


@dataclass(slots=True)
class LossScale:
    """Doubles after a while without overflow, halves at every overflow.

    Attributes:
        enabled: Whether it is used at all; the value is 1 otherwise.
        value: What the loss is multiplied by.
        good: Steps since it last moved.
        patience: Steps without overflow before it doubles.
    """

    enabled: bool
    value: float = 1.0
    good: int = 0
    patience: int = 200

    @classmethod
    def of(cls, precision: str) -> "LossScale":
        """The scale a precision needs."""
        return cls(enabled=precision == "fp16", value=2.0**16 if precision == "fp16" else 1.0)

    @property
    def exhausted(self) -> bool:
        """Whether it fell so low that overflow cannot be the reason."""
        return self.value < _LOWEST

    def accepts(self, norm: float) -> bool:
        """Whether a step with a gradient of this norm may be taken; moves the scale."""
        if not self.enabled:
            return True
        if not isfinite(norm):
            self.value, self.good = self.value / 2.0, 0
            return False
        self.good += 1
        if self.good >= self.patience and self.value < _HIGHEST:
            self.value, self.good = self.value * 2.0, 0
        return True
