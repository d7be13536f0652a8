"""What a search found out, for the report."""

from collections.abc import Sequence
from dataclasses import dataclass

from deepseek.quantization.search.finding import Finding
from deepseek.quantization.search.search import Stopped
from deepseek.quantization.search.sensitivity import Sensitivity
from deepseek.quantization.search.state import Trial

__all__ = ["LayerTime", "SearchReport", "Tried", "search_report"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerTime:
    """Seconds that a layer, or layers that change together, takes on a calibration batch."""

    name: str
    before: float
    after: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """A method that was tried, and the model it came to, on the search data."""

    method: str
    within: bool | None
    drop: float | None
    size: int | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchReport:
    """What was found out before the verdict, on calibration data.

    Attributes:
        stopped: How it ended, see ``Found``; None where there was no search.
        seconds: It took, methods included.
        sensitivity: Of layers one at a time, the most sensitive first; empty if not measured.
        times: Of layers in both forms.
        trials: Models measured, in the order they were.
        methods: What was tried.
    """

    stopped: Stopped | None
    seconds: float
    sensitivity: Sequence[Sensitivity]
    times: Sequence[LayerTime]
    trials: Sequence[Trial]
    methods: Sequence[Tried]


def search_report(attempts: Sequence[Finding], best: Finding, seconds: float) -> SearchReport:
    """Sum up what was tried."""
    return SearchReport(
        stopped=best.found.stopped if best.found else None,
        seconds=seconds,
        sensitivity=best.sensitivity,
        times=[
            LayerTime(name=name, before=pair.before, after=pair.after)
            for name, pair in best.times.items()
        ],
        trials=best.trials,
        methods=[_tried(one) for one in attempts],
    )


def _tried(one: Finding) -> Tried:
    last = one.last
    return Tried(
        method=one.method,
        within=last.within if last else None,
        drop=last.drop if last else None,
        size=last.size if last else None,
        seconds=last.seconds if last else None,
    )
