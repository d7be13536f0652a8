"""Everything about a run that moves and is not a tensor."""

from dataclasses import dataclass
from math import inf
from typing import Any

from deepseek.training.scale import LossScale

__all__ = ["RunState"]


@dataclass(slots=True)
class RunState:
    """Where a run is.

    Attributes:
        step: Steps taken.
        place: Records drawn from the stream.
        best: The lowest loss of an evaluation so far.
        best_step: After which step that was; None before the first evaluation.
        strikes: Evaluations since then.
        scale: The scale of the loss.
    """

    scale: LossScale
    step: int = 0
    place: int = 0
    best: float = inf
    best_step: int | None = None
    strikes: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain values, exactly."""
        return {
            "step": self.step,
            "place": self.place,
            "best": None if self.best == inf else self.best,
            "best_step": self.best_step,
            "strikes": self.strikes,
            "scale": [self.scale.value, self.scale.good],
        }

    def take(self, saved: dict[str, Any]) -> None:
        """Go back to what was saved."""
        self.step = saved["step"]
        self.place = saved["place"]
        self.best = inf if saved["best"] is None else saved["best"]
        self.best_step = saved["best_step"]
        self.strikes = saved["strikes"]
        self.scale.value, self.scale.good = saved["scale"]
