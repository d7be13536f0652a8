"""What a method came to."""

from dataclasses import dataclass

from deepseek.quantization.search.search import Found
from deepseek.quantization.search.sensitivity import Sensitivity
from deepseek.quantization.search.speed import Times
from deepseek.quantization.search.state import Trial

__all__ = ["Finding"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a method came to, of a model in torch or of a program.

    Attributes:
        method: Its name.
        sensitivity: Of units, the most sensitive first; empty where it was not measured.
        times: Of what was timed, in both forms.
        trials: Models measured on the search data.
        found: What the search ended with; None where there was none.
    """

    method: str
    sensitivity: tuple[Sensitivity, ...]
    times: dict[str, Times]
    trials: tuple[Trial, ...]
    found: Found | None

    @property
    def last(self) -> Trial | None:
        """What was measured of the model that was settled on."""
        return next((t for t in self.trials if self.found and set(t.kept) == self.found.kept), None)
