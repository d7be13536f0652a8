"""One method tried on a program: quantized, held against the clock, measured, and searched."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import PretrainedConfig

from deepseek.errors import GateError, InputError
from deepseek.quantization.apply import LeftAlone
from deepseek.quantization.batches import Batch, Batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.methods.method import QuantizedLayer
from deepseek.quantization.onnx.methods import KINDS, WRITERS, Setting, calibrate
from deepseek.quantization.onnx.mixture import ProgramMixture
from deepseek.quantization.onnx.module import OnnxModule
from deepseek.quantization.onnx.prepare import Node, prepare
from deepseek.quantization.search.finding import Finding
from deepseek.quantization.search.job import Job
from deepseek.quantization.search.session import Session
from deepseek.quantization.search.speed import Times, middle_batch, time_calls
from deepseek.quantization.search.units import Unit

__all__ = ["Given", "ProgramAttempt", "attempt_program", "rounding_method"]

_COSTLY = "in INT8 it costs too much"
_WHOLE = "the whole program"


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What a method begins with.

    Attributes:
        program: In floating point.
        model: What is measured against: the model in torch, or the program itself.
        names: The model in torch that the program was exported from; None where there is none.
        architecture: The name of the model.
        settings: Its configuration.
    """

    program: Path
    model: nn.Module
    names: nn.Module | None
    architecture: str
    settings: PretrainedConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramAttempt(Finding):
    """What a method made of a program.

    Attributes:
        model: The program that was settled on.
        layers: What is quantized in it.
        left_alone: What is not, and why.
    """

    model: OnnxModule
    layers: Sequence[QuantizedLayer]
    left_alone: Sequence[LeftAlone]


def attempt_program(
    method: str,
    given: Given,
    calibration: Batches,
    config: QuantizeConfig,
    folder: Path,
    session: Session,
) -> ProgramAttempt:
    """Try a method.

    Args:
        method: Its name: one of ``WRITERS``, or ``smooth`` where the program has been smoothed.
        given: The program.
        calibration: To calibrate and to search on.
        config: What was asked for.
        folder: For programs; the one that is settled on stays there.
        session: The search that it is part of.

    Raises:
        InputError: The program cannot be quantized.
        GateError: It is not faster than before, and size alone was not asked for.
    """
    by = rounding_method(method, config)
    all_nodes = prepare(given.program, folder / "float.onnx", given.names)
    nodes = [node for node in all_nodes if node.kind in KINDS[by]]
    if not nodes:
        raise InputError(
            f"expected nodes that {method} can quantize ({', '.join(KINDS[by])} with constant "
            f"weights), found none in {given.architecture}",
            hint=None if by == "static" else "--method static takes convolutions too",
        )
    original = OnnxModule(folder / "float.onnx", given.settings, given.architecture)
    setting = Setting(source=original.path, config=config, ranges=folder / "ranges.json")
    if by == "static":
        session.progress("calibrating", 0, 1)
        calibrate(setting, original, calibration, folder)
        session.progress("calibrating", 1, 1)
    mixture = ProgramMixture(original, setting, WRITERS[by], nodes, folder)
    session.progress("quantizing", 0, 1)
    names = {node.name for node in nodes}
    whole = mixture.program(names)
    session.progress("quantizing", 1, 1)
    times = _gated(method, original, whole, middle_batch(calibration), smallest=config.smallest)
    units = [_unit(node) for node in nodes]
    job = Job(method, given.model, config, units, mixture, session)
    ranking, found = job.search(frozenset(), calibration)
    kept = found.kept if found else frozenset()
    others = [LeftAlone(node.name, f"{method} takes no {node.kind} in ONNX")
              for node in all_nodes if node.name not in names]  # fmt: skip
    return ProgramAttempt(
        method=method,
        model=mixture.program(names - kept),
        layers=[_layer(node) for node in nodes if node.name not in kept],
        left_alone=[*others, *(LeftAlone(name, _COSTLY) for name in sorted(kept))],
        sensitivity=ranking,
        times=times,
        trials=tuple(session.state.trials.get(method, ())),
        found=found,
    )


def rounding_method(method: str, config: QuantizeConfig) -> str:
    """What rounds, where a method is another one after some preparation."""
    if method != "smooth":
        return method
    return "static" if config.activations == "static" else "dynamic_range"


def _gated(
    method: str, before: OnnxModule, after: OnnxModule, batch: Batch, *, smallest: bool
) -> dict[str, Times]:
    """Both programs on a batch, by turns."""
    inputs = dict(batch.inputs)
    times = time_calls(lambda: before(**inputs), lambda: after(**inputs))
    if times.after >= times.before and not smallest:
        raise GateError(
            f"expected a program that is faster quantized by {method} in ONNX Runtime on this "
            f"machine, found {times.after / times.before:.2f}x the time",
            hint="--smallest quantizes it for its size alone",
        )
    return {_WHOLE: times}


def _unit(node: Node) -> Unit:
    return Unit(
        name=node.name,
        layers=(node.name,),
        modules=(node.name,),
        bytes_before=node.bytes,
        bytes_after=node.bytes // 4,
    )


def _layer(node: Node) -> QuantizedLayer:
    return QuantizedLayer(
        name=node.name,
        in_features=node.in_features,
        out_features=node.out_features,
        input_rank=None,
        kind=node.kind,
    )
