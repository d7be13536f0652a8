"""The search of one method: measure the whole, then layers one by one, then fewer and fewer."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from deepseek.quantization.batches import Batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.quality import judge
from deepseek.quantization.search.search import Found, find_kept, is_within
from deepseek.quantization.search.sensitivity import Sensitivity, measure_sensitivity
from deepseek.quantization.search.session import Session
from deepseek.quantization.search.state import Tally, Trial
from deepseek.quantization.search.units import Mixing, Unit

__all__ = ["Job"]


@dataclass(frozen=True, slots=True)
class Job:
    """A search in the making: which units of a model stay in floating point.

    Attributes:
        method: Its name, under which the state keeps what was found.
        original: In floating point.
        config: What was asked for.
        units: Of the model.
        mixture: Models with some of them quantized.
        session: What it shares with those of other methods.
    """

    method: str
    original: nn.Module
    config: QuantizeConfig
    units: Sequence[Unit]
    mixture: Mixing
    session: Session

    def search(
        self, slower: frozenset[str], batches: Batches
    ) -> tuple[tuple[Sensitivity, ...], Found | None]:
        """Search.

        Args:
            slower: Units that stay in any case.
            batches: To measure sensitivity on.

        Returns:
            The units, the most sensitive first; and what was found, None without a search.
        """
        if self.session.reference is None:
            return (), None
        fits = self.measure(slower).within
        if fits and self.config.search != "always":
            return (), Found(kept=slower, stopped="whole")
        ranking = measure_sensitivity(
            self.original,
            self.mixture,
            self.units,
            batches,
            tally=self.session.state.tallies.setdefault(self.method, Tally()),
            state=self.session.state,
            clock=self.session.clock,
            progress=self.session.progress,
        )
        if fits:
            return ranking, Found(kept=slower, stopped="whole")
        return ranking, find_kept(slower, ranking, self.measure, self.session.clock)

    def measure(self, kept: frozenset[str]) -> Trial:
        """Measure the model that keeps these units, unless that was done before."""
        trials = self.session.state.trials.setdefault(self.method, [])
        known = next((trial for trial in trials if set(trial.kept) == kept), None)
        if known is not None:
            return known
        assert self.session.reference is not None
        stage = f"trying {len(self.units) - len(kept)} of {len(self.units)} in INT8"
        model = self.mixture.quantize({unit.name for unit in self.units} - kept)
        comparison = self.session.reference.compare(model, self.session.progress, stage)
        quality = judge(comparison, max_drop=self.config.max_drop, seed=self.config.seed)
        trial = Trial(
            kept=tuple(sorted(kept)),
            drop=quality.drop,
            low=quality.drop_interval.low,
            high=quality.drop_interval.high,
            within=is_within(quality),
            size=self.mixture.bytes(),
            seconds=comparison.seconds_after,
        )
        trials.append(trial)
        if len(trials) > 1:  # a first one alone is not worth a file
            self.session.state.save()
        return trial
