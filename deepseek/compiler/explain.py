"""``deepseek.explain``: what a compiled model runs, step by step, and how long each takes."""

from __future__ import annotations

import json
import operator
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.fx.node import map_arg

from deepseek.compiler.capture import flatten
from deepseek.compiler.compile import CompiledModel
from deepseek.compiler.compile import compile as compile_model
from deepseek.compiler.listing import sizes_in_words, words_of
from deepseek.compiler.operators import Operator
from deepseek.compiler.pointwise import Pointwise
from deepseek.compiler.reasons import gives_view, reason_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from torch.fx import Node

    from deepseek.compiler.compile import Compilation

__all__ = ["Explanation", "Step", "explain"]

_WIDTH = 80


@dataclass(frozen=True, slots=True)
class Step:
    """A call of a kernel or of an operator of ATen.

    Attributes:
        name: Of its result in the graph.
        kind: ``linear``, ``attention``, …; ``aten`` for what has no kernel, ``view`` for what
            moves nothing.
        words: What it computes, and what is fused into it.
        sizes: Of its result.
        seconds: How long it takes, the median of several runs, started from Python.
        begin: When it began in the last of these runs, in seconds.
        reason: Why it is left to ATen; empty if it is not.
    """

    name: str
    kind: str
    words: str
    sizes: str
    seconds: float
    begin: float
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a model became, for inputs of one kind.

    Attributes:
        model: Its class.
        refusal: Why it is not captured whole; None if it is.
        compile_seconds: What capturing and rewriting took.
        passes: Names of the passes, and the calls in the graph after each.
        steps: In the order they run.
        launches: Native launches in a replay; 0 where no run can be replayed.
        left: Calls of ATen operators in a replay, views aside.
        arena_bytes: Memory for intermediate tensors.
        replay_seconds: A whole call when its shapes are known, the median of several.
    """

    model: str
    refusal: str | None = None
    compile_seconds: float = 0.0
    passes: tuple[tuple[str, int], ...] = field(default=(), repr=False)
    steps: tuple[Step, ...] = field(default=(), repr=False)
    launches: int = 0
    left: int = 0
    arena_bytes: int = 0
    replay_seconds: float = 0.0

    @property
    def shares(self) -> dict[str, float]:
        """The share of the time of all steps that each kind of step has, largest first."""
        seconds: dict[str, float] = defaultdict(float)
        for step in self.steps:
            seconds[step.kind] += step.seconds
        total = sum(seconds.values()) or 1.0
        return {
            kind: part / total for kind, part in sorted(seconds.items(), key=lambda pair: -pair[1])
        }

    @property
    def reasons(self) -> dict[str, str]:
        """Operators that are left to ATen, and why."""
        return {step.words: step.reason for step in self.steps if step.reason}

    def __str__(self) -> str:
        if self.refusal is not None:
            return f"{self.model} is not captured whole: {self.refusal}"
        total = sum(step.seconds for step in self.steps) or 1.0
        lines = [
            f"{self.model}: compiled in {self.compile_seconds:.2f} s",
            f"{self.replay_seconds * 1e3:.3f} ms a call",
            f"{self.launches} kernels, {self.left} calls of ATen",
            f"{self.arena_bytes / 2**20:.1f} MiB for intermediate tensors",
            "",
            f"{'share':>6}  {'kind':<12} steps",
        ]
        for kind, share in self.shares.items():
            count = sum(step.kind == kind for step in self.steps)
            lines.append(f"{share:6.1%}  {kind:<12} {count:5}")
        lines += ["", f"{'share':>6}  {'result':<20} step"]
        for step in self.steps:
            if step.kind != "view":
                row = f"{step.seconds / total:6.1%}  {step.sizes:<20} {step.words}"
                lines.append(row if len(row) <= _WIDTH else row[: _WIDTH - 1] + "…")
        if self.reasons:
            lines += ["", "left to ATen"]
            for words, reason in self.reasons.items():
                row = f"  {words}: {reason}"
                lines.append(row if len(row) <= _WIDTH else row[: _WIDTH - 1] + "…")
        return "\n".join(lines)

    def chrome_trace(self, path: str | Path) -> None:
        """Write the last timed run for chrome://tracing or Perfetto."""
        events = [
            {
                "name": step.words,
                "cat": step.kind,
                "ph": "X",
                "ts": step.begin * 1e6,
                "dur": step.seconds * 1e6,
                "pid": 0,
                "tid": 0,
                "args": {"result": step.name, "sizes": step.sizes, "reason": step.reason},
            }
            for step in self.steps
        ]
        document = {"traceEvents": events, "displayTimeUnit": "ms"}
        Path(path).write_text(json.dumps(document), encoding="utf-8")


def explain(model: Any, *args: Any, runs: int = 5, **kwargs: Any) -> Explanation:
    """Tell what runs when a model is called with these arguments.

    Args:
        model: A module in evaluation mode, or what :func:`deepseek.compile` made of it.
        args: Positional arguments of the call.
        runs: How often every step is timed.
        kwargs: Named arguments of the call.
    """
    compiled = model if isinstance(model, CompiledModel) else compile_model(model)
    name = type(compiled.model).__name__
    compilation = compiled.compiled_for(*args, **kwargs)
    if compilation is None:
        return Explanation(name, compiled.refusal or "the arguments have a kind without graphs")
    tensors = flatten(args, kwargs).tensors
    program = compilation.program
    record = program.record(tensors)
    with torch.no_grad():
        steps = _timed(compilation, tensors, runs)
    calls = []
    for _ in range(runs):
        begin = time.perf_counter()
        program(tensors)
        calls.append(time.perf_counter() - begin)
    return Explanation(
        name,
        None,
        compilation.seconds,
        tuple((each.name, each.nodes) for each in compilation.passes),
        steps,
        0 if record is None else len(record.replay.launches),
        sum(step.kind == "aten" for step in steps)
        if record is None
        else sum(not isinstance(step, tuple) for step in record.steps),
        program.arena_bytes,
        statistics.median(calls),
    )


def _timed(compilation: Compilation, tensors: Sequence[Tensor], runs: int) -> tuple[Step, ...]:
    """The steps of the graph, each timed as it runs alone."""
    program = compilation.program
    known = program.constants
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    given = dict(zip(compilation.captured.inputs, tensors, strict=True))
    seconds: dict[Node, list[float]] = {node: [] for node in nodes}
    begins: dict[Node, float] = {}
    results: dict[Node, Any] = {}
    for _ in range(max(1, runs)):
        origin = time.perf_counter()
        results = {node: None for node in program.graph.nodes if node.op == "placeholder"}
        results |= {**known, **given}
        for node in nodes:
            arguments, named = map_arg((node.args, dict(node.kwargs)), results.__getitem__)
            begin = time.perf_counter()
            results[node] = node.target(*arguments, **named)
            seconds[node].append(time.perf_counter() - begin)
            begins[node] = begin - origin
    return tuple(
        Step(
            node.name,
            _kind(node),
            words_of(node.target),
            sizes_in_words(results[node]),
            statistics.median(seconds[node]),
            begins[node],
            reason_for(node, known) if _kind(node) == "aten" else "",
        )
        for node in nodes
    )


def _kind(node: Node) -> str:
    target: Any = node.target
    if isinstance(target, Pointwise):
        return "pointwise"
    if isinstance(target, Operator):
        return target.__name__
    if not isinstance(target, torch._ops.OpOverload) or target is operator.getitem:  # noqa: SLF001
        return "view"  # arithmetic of sizes, parts of a result
    return "view" if gives_view(target) else "aten"
