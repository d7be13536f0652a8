"""Try one method, or all of them and keep the best."""

from pathlib import Path

from torch import nn

from deepseek.errors import DeepseekError, GateError
from deepseek.progress import Progress
from deepseek.quantization.batches import Batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.methods import METHODS
from deepseek.quantization.search.attempt import Attempt, attempt
from deepseek.quantization.search.clock import Clock
from deepseek.quantization.search.reference import Reference
from deepseek.quantization.search.state import SearchState, fingerprint, open_state

__all__ = ["settings_of", "try_methods"]


def try_methods(
    original: nn.Module,
    calibration: Batches,
    config: QuantizeConfig,
    clock: Clock,
    progress: Progress,
    *,
    state_file: Path | None,
    resume: bool,
) -> tuple[tuple[Attempt, ...], SearchState]:
    """Try the method that was asked for, or all of them while there is time.

    Returns:
        What each made, at least one; and the state of the search, which the caller removes.

    Raises:
        InputError: No method can quantize the model, or there is no search to go on with.
        GateError: None makes a layer faster, and size alone was not asked for.
    """
    reference: Reference | None = None
    mark = ""
    if config.search != "never" or config.method == "auto":
        reference = Reference(original, calibration, config.metric)
        if state_file is not None:
            mark = fingerprint(original, calibration, settings_of(config))
    state = open_state(state_file, mark, resume=resume)
    attempts: list[Attempt] = []
    errors: list[DeepseekError] = []
    for method in METHODS if config.method == "auto" else (config.method,):
        if attempts and clock.over():
            break
        try:
            attempts.append(
                attempt(
                    method, original, calibration, config,
                    reference=reference, state=state, clock=clock, progress=progress,
                )
            )  # fmt: skip
        except DeepseekError as error:
            errors.append(error)
    if not attempts:
        state.remove()
        # Input that no method takes is one thing, layers that are slower another.
        raise next((e for e in errors if not isinstance(e, GateError)), errors[0])
    return tuple(attempts), state


def settings_of(config: QuantizeConfig) -> tuple[object, ...]:
    """What else the findings of a search depend on."""
    return config.metric, config.max_drop, config.seed, config.smallest
