"""Data in two parts: to calibrate on, and to measure on."""

from dataclasses import dataclass

from deepseek.quantization.batches import Batches

__all__ = ["Opened"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """Data in two parts.

    Attributes:
        calibration: To calibrate and search on.
        held_out: For the verdict.
        counts: Records of each part.
        labelled: Whether they have labels that count.
        notes: What a user should know.
    """

    calibration: Batches
    held_out: Batches
    counts: tuple[int, int]
    labelled: bool
    notes: tuple[str, ...] = ()
