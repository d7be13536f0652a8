"""What one search, of any number of methods, has in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from deepseek.progress import Progress
from deepseek.quantization.batches import Batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.search.clock import Clock
from deepseek.quantization.search.reference import Reference
from deepseek.quantization.search.state import SearchState, fingerprint, open_state

__all__ = ["Session", "begin"]


@dataclass(frozen=True, slots=True)
class Session:
    """A search under way.

    Attributes:
        reference: The original on the search data; None for no search.
        state: What was found out, now and before an interruption.
        clock: Of the time that may be spent.
        progress: Told how far it has come.
    """

    reference: Reference | None
    state: SearchState
    clock: Clock
    progress: Progress


def begin(
    original: nn.Module,
    calibration: Batches,
    config: QuantizeConfig,
    clock: Clock,
    progress: Progress,
    *,
    state_file: Path | None,
    resume: bool,
    marks: Sequence[object] = (),
) -> Session:
    """Begin a search, or go on with one.

    Args:
        original: In floating point.
        calibration: To calibrate and to search on.
        config: What was asked for.
        clock: Of the time that may be spent.
        progress: Told how far it has come.
        state_file: Where it keeps what it has found out; None to keep nothing.
        resume: Go on from what is there.
        marks: What else its findings depend on, beside the model, the data and the budget.

    Raises:
        InputError: There is no search to go on with, or one of another model or other data.
    """
    reference: Reference | None = None
    mark = ""
    if config.search != "never" or config.method == "auto":
        reference = Reference(original, calibration, config.metric)
        if state_file is not None:
            settings = config.metric, config.max_drop, config.seed, config.smallest, *marks
            mark = fingerprint(original, calibration, settings)
    state = open_state(state_file, mark, resume=resume)
    return Session(reference, state, clock, progress)
