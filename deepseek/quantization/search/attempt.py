"""One method tried on a model: quantized, timed, measured, and searched where it loses too much."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from deepseek.errors import GateError
from deepseek.quantization.apply import LeftAlone
from deepseek.quantization.batches import Batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.methods import METHODS
from deepseek.quantization.methods.method import Quantized
from deepseek.quantization.search.finding import Finding
from deepseek.quantization.search.job import Job
from deepseek.quantization.search.session import Session
from deepseek.quantization.search.speed import Times, time_units
from deepseek.quantization.search.units import Mixture, Unit, units_of

__all__ = ["Attempt", "attempt"]

_SLOWER = "it is not faster in INT8 here"
_COSTLY = "in INT8 it costs too much"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt(Finding):
    """What a method made of a model.

    Attributes:
        quantized: The model that was settled on.
    """

    quantized: Quantized


def attempt(
    method: str,
    original: nn.Module,
    calibration: Batches,
    config: QuantizeConfig,
    session: Session,
) -> Attempt:
    """Try a method.

    Args:
        method: Its name.
        original: In floating point.
        calibration: To calibrate and to search on.
        config: What was asked for.
        session: The search that it is part of.

    Raises:
        InputError: The model cannot be quantized.
        GateError: No layer is faster when it is quantized, and size alone was not asked for.
    """
    whole = METHODS[method](original, calibration, config, session.progress)
    units = units_of(original, whole)
    times = _times(method, original, whole, units, calibration, session)
    slower = set() if config.smallest else {n for n, t in times.items() if t.after >= t.before}
    if len(slower) == len(units):
        raise GateError(
            f"expected layers that are faster quantized by {method} on this machine, found none of "
            f"{len(units)}",
            hint="--smallest quantizes them for their size alone",
        )
    mixture = Mixture(original, whole.model, units)
    job = Job(method, original, config, units, mixture, session)
    ranking, found = job.search(frozenset(slower), calibration)
    kept = found.kept if found else frozenset(slower)
    return Attempt(
        method=method,
        quantized=_settled(whole, units, mixture, kept, slower),
        sensitivity=ranking,
        times=times,
        trials=tuple(session.state.trials.get(method, ())),
        found=found,
    )


def _times(
    method: str,
    original: nn.Module,
    whole: Quantized,
    units: Sequence[Unit],
    calibration: Batches,
    session: Session,
) -> dict[str, Times]:
    """Measured once: a search that goes on must not find other layers slow than it did before."""
    known = session.state.times
    if method not in known:
        found = time_units(original, whole.model, units, calibration, session.progress)
        known[method] = {n: (t.before, t.after) for n, t in found.items()}
    return {name: Times(*pair) for name, pair in known[method].items()}


def _settled(
    whole: Quantized,
    units: Sequence[Unit],
    mixture: Mixture,
    kept: frozenset[str],
    slower: set[str],
) -> Quantized:
    """The model of the units that are not kept, and the reasons why the others are."""
    model = mixture.quantize({unit.name for unit in units} - kept)
    reasons = {
        layer: _SLOWER if unit.name in slower else _COSTLY
        for unit in units
        if unit.name in kept
        for layer in unit.layers
    }
    return replace(
        whole,
        model=model,
        layers=[layer for layer in whole.layers if layer.name not in reasons],
        left_alone=[*whole.left_alone, *(LeftAlone(name, why) for name, why in reasons.items())],
    )
