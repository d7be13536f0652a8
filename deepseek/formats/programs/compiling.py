"""From a checkpoint to a saved program, compared with the model before it is kept."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from deepseek.compiler.compile import compile as compile_model
from deepseek.compiler.operators import Operator
from deepseek.compiler.pointwise import Pointwise
from deepseek.compiler.record import OperatorCall
from deepseek.compiler.saved import save
from deepseek.errors import InputError
from deepseek.formats.conversion import parity_document
from deepseek.formats.exporting.compare import Limits, compare_all, differing
from deepseek.formats.exporting.outputs import outputs_of
from deepseek.formats.exporting.signature import signature_of
from deepseek.formats.model import load_model
from deepseek.formats.parity import OutputParity, Parity
from deepseek.nn.int8_linear import Int8Linear
from deepseek.outputs import refuse_existing
from deepseek.progress import Progress, silent
from deepseek.versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from deepseek.compiler.compile import Compilation, CompiledModel
    from deepseek.compiler.program import Record
    from deepseek.formats.exporting.signature import Signature
    from deepseek.formats.programs.config import CompileConfig

__all__ = ["CompiledCheckpoint", "compile_checkpoint"]

_LIMITS = {
    "fp32": Limits(error=1e-4, cosine=0.9999),
    "int8": Limits(error=0.25, cosine=0.98),
}
_ROUNDS = 7
_ROUNDED = "the model rounds activations to INT8: outputs are compared as those of int8 are"


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledCheckpoint:
    """What was compiled, and how it compares.

    Attributes:
        config: What was asked for.
        architecture: The model's class.
        graphs: How many graphs its inputs needed.
        seconds: How long capturing and rewriting them took.
        kernels: Nodes of the largest graph that are kernels, by what is in them.
        left: Calls of ATen's operators in one run, by name.
        launches: Kernels that one run starts.
        native_calls: Calls from Python that they take.
        arena: Bytes of memory for intermediate results.
        parity: The comparison with the model.
        before: Seconds of the model, uncompiled, at the last sizes tried; an indication.
        after: Those of the program.
        sizes: These sizes.
        kept: Whether the program was written.
        notes: What had to be assumed about the checkpoint.
    """

    config: CompileConfig
    architecture: str
    graphs: int
    seconds: float
    kernels: Mapping[str, int]
    left: Mapping[str, int]
    launches: int
    native_calls: int
    arena: int
    parity: Parity
    before: float
    after: float
    sizes: str
    kept: bool
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "schema": "deepseek.compile/1",
            "passed": self.parity.passed,
            "kept": self.kept,
            "source": str(self.config.model),
            "output": str(self.config.output),
            "architecture": self.architecture,
            "precision": self.config.precision,
            "graphs": self.graphs,
            "compile_seconds": self.seconds,
            "kernels": dict(self.kernels),
            "launches": self.launches,
            "native_calls": self.native_calls,
            "left_to_aten": dict(self.left),
            "arena_bytes": self.arena,
            "parity": parity_document(self.parity),
            "seconds": {"at": self.sizes, "before": self.before, "after": self.after},
            "notes": list(self.notes),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }


def compile_checkpoint(config: CompileConfig, progress: Progress = silent) -> CompiledCheckpoint:
    """Compile a checkpoint for every batch and length, compare, and write the program.

    A program that differs from the model by more than is accepted is not written, unless the
    configuration allows it.

    Raises:
        InputError: The checkpoint cannot be read or captured, or the output exists.
    """
    refuse_existing(config.output, overwrite=config.overwrite)
    progress("loading", 0, 1)
    loaded = load_model(config.model, config=config.model_config, allow_globals=config.allow_global)
    progress("loading", 1, 1)
    model, signature = loaded.model, signature_of(loaded.model, loaded.architecture)
    if getattr(model.config, "use_cache", None):
        model.config.use_cache = False  # type: ignore[union-attr]  # a configuration has it
    compiled: CompiledModel = compile_model(model, config.precision)
    parity = _compared(model, compiled, signature, config, progress)
    compilation, record, inputs = _last(compiled, signature)
    before, after = _timed(
        lambda: outputs_of(model, inputs), lambda: compilation.program(list(inputs.values()))
    )
    steps = record.steps if record is not None else []
    report = CompiledCheckpoint(
        config=config,
        architecture=loaded.architecture,
        graphs=len(compiled.compilations),
        seconds=sum(each.seconds for each in compiled.compilations),
        kernels=_kernels(compilation),
        left=Counter(step.name for step in steps if isinstance(step, OperatorCall)),
        launches=0 if record is None else len(record.replay.launches),
        native_calls=sum(isinstance(step, tuple) for step in steps),
        arena=compilation.program.arena_bytes,
        parity=parity,
        before=before,
        after=after,
        sizes=str(signature.trials[-1]),
        kept=parity.passed or config.allow_mismatch,
        notes=(*loaded.notes, *([_ROUNDED] if _rounds_tokens(model) else [])),
    )
    if report.kept:
        text = json.dumps(report.document(), indent=2)
        progress("writing", 0, 1)
        extra = {"report.json": text + "\n"}
        save(compiled, config.output, overwrite=config.overwrite, extra=extra)
        progress("writing", 1, 1)
    return report


def _compared(
    model: torch.nn.Module,
    compiled: CompiledModel,
    signature: Signature,
    config: CompileConfig,
    progress: Progress,
) -> Parity:
    limits = _LIMITS["int8" if _rounds_tokens(model) else config.precision]
    if config.max_error is not None:
        limits = Limits(error=config.max_error, cosine=limits.cosine)
    found: list[OutputParity] = []
    for done, sizes in enumerate(signature.trials):
        progress("compiling and comparing", done, len(signature.trials))
        inputs = signature.make(sizes)
        with torch.inference_mode():
            expected = outputs_of(model, inputs)
        computed = _tensors(compiled(**inputs))
        if compiled.refusal is not None:
            raise InputError(f"expected a model that can be captured: {compiled.refusal}")
        found += compare_all(str(sizes), expected, computed, inputs.get("attention_mask"), limits)
    progress("compiling and comparing", len(signature.trials), len(signature.trials))
    return Parity(outputs=tuple(found), misses=tuple(differing(found, limits)))


def _rounds_tokens(model: torch.nn.Module) -> bool:
    """Whether activations are rounded in coarse steps.

    A difference in the last bit then moves some of them by a step, layer by layer more, until the
    outputs of two ways to compute the same differ as much as rounding makes them differ at all.
    """
    return any(isinstance(module, Int8Linear) for module in model.modules())


def _tensors(outputs: Any) -> dict[str, Tensor]:
    return {name: x for name, x in outputs.items() if isinstance(x, torch.Tensor)}


def _last(
    compiled: CompiledModel, signature: Signature
) -> tuple[Compilation, Record | None, dict[str, Tensor]]:
    """The graph that serves the last sizes tried, a record of its run, and its inputs."""
    inputs = signature.make(signature.trials[-1])
    compilation = compiled.compiled_for(**inputs)
    assert compilation is not None
    return compilation, compilation.program.record(list(inputs.values())), inputs


def _kernels(compilation: Compilation) -> dict[str, int]:
    targets = [node.target for node in compilation.program.graph.nodes]
    found = Counter(each.describe() for each in targets if isinstance(each, Operator))
    fused = sum(isinstance(each, Pointwise) for each in targets)
    return {**found, **({"pointwise, fused": fused} if fused else {})}


def _timed(before: Callable[[], object], after: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of both, in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():
        for _ in range(_ROUNDS):
            for run, measured in zip((before, after), times, strict=True):
                begin = time.perf_counter()
                run()
                measured.append(time.perf_counter() - begin)
    return statistics.median(times[0]), statistics.median(times[1])
