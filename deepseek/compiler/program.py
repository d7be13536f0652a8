"""A rewritten graph that runs: in Python where shapes are new, natively where they come again.

The first call with given shapes runs the graph as Python code and is recorded; from then on the
record is replayed: kernels one after the other in a native loop, with a step back into Python only
for an operator that is left to ATen. A new shape costs no compilation.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map_only

from deepseek.compiler.arena import Arena
from deepseek.compiler.code import Code
from deepseek.compiler.handover import handover
from deepseek.compiler.record import CannotRecordError, OperatorCall, Recorder
from deepseek.compiler.results import Results
from deepseek.compiler.tracing import alone
from deepseek.compiler.views import UNHEARD
from deepseek.kernels.parallel import Launch, threads
from deepseek.kernels.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from torch.fx import Graph, Node

__all__ = ["Program", "Record"]

_MOST_RECORDS = 256


class Record:
    """What one run of a program did, for inputs of given shapes.

    Attributes:
        steps: Ranges of launches, and operators of ATen between them.
        replay: The launches.
        kept: Tensors that must stay alive.
    """

    def __init__(
        self, inputs: list[Any], recorder: Recorder, outputs: Any, outside: list[Any]
    ) -> None:
        self._inputs = [
            (place, buffer) for place, buffer in enumerate(inputs) if isinstance(buffer, Tensor)
        ]
        launches = [step for step in recorder.steps if isinstance(step, Launch)]
        self.replay = Replay(launches)
        self._results = Results(outputs, partial(handover, recorder=recorder, replay=self.replay))
        self.steps = _ranges(recorder.steps)
        self.kept = (recorder.kept, outside)

    def run(self, tensors: Sequence[Any]) -> Any:
        """The outputs for other inputs of the same shapes; None if a kernel refuses a number."""
        for place, buffer in self._inputs:
            buffer.copy_(tensors[place])
        replay, filled = self.replay, self._results.renewed()
        for step in self.steps:
            if isinstance(step, tuple):
                replay.run(*step)
            else:
                step.run()
        if replay.failed():
            return None
        return self._results.copies(filled)

    def outputs(self) -> Any:
        """Copies of the results of the run that was recorded."""
        return self._results.copies()


def _key(values: Sequence[Any]) -> Hashable:
    """What a record depends on: how tensors lie, numbers, and threads."""
    looks = ((x.shape, x.stride()) if isinstance(x, Tensor) else x for x in values)
    return tuple(looks), threads()


def _is_plain(tensor: Tensor) -> bool:
    """Whether a copy in memory with the same strides stands for a tensor."""
    if not tensor.is_cpu or tensor.layout != torch.strided or tensor.is_complex():
        return False
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    return not tensor.is_neg() and all(step or n == 1 for n, step in pairs)


def _ranges(steps: Sequence[OperatorCall | Launch]) -> list[tuple[int, int] | OperatorCall]:
    """Launches that follow one another as one range of their numbers."""
    ranges: list[tuple[int, int] | OperatorCall] = []
    count = 0
    for step in steps:
        if isinstance(step, OperatorCall):
            ranges.append(step)
            continue
        last = ranges[-1] if ranges else None
        if isinstance(last, tuple):
            ranges[-1] = (last[0], count + 1)
        else:
            ranges.append((count, count + 1))
        count += 1
    return ranges


class Program:
    """A graph of kernels and operators, called with the tensors of its inputs.

    Attributes:
        graph: What runs.
        constants: The tensors of its placeholders that are known.
    """

    def __init__(self, graph: Graph, inputs: Sequence[Node], constants: dict[Node, Tensor]) -> None:
        self.graph = graph
        code = Code(graph)
        self._code, self._code_of_records = code.function(), code.function(UNHEARD)
        placeholders = [node for node in graph.nodes if node.op == "placeholder"]
        self.constants = {node: constants[node] for node in placeholders if node in constants}
        self._places = [placeholders.index(node) for node in inputs]
        self._blank: list[Any] = [None] * len(placeholders)
        for node, tensor in self.constants.items():
            self._blank[placeholders.index(node)] = tensor
        self._arena: Arena | None = None
        self._records: dict[Hashable, Record | None] = {}
        self._refused = False
        self._lock = threading.Lock()

    def __call__(self, tensors: Sequence[Any]) -> Any:
        """The outputs of the graph, a tree of tensors."""
        key = _key(tensors)
        known = key in self._records
        record = self._records.get(key)
        if self._refused or (known and record is None):
            return self.run(tensors)
        if not self._lock.acquire(blocking=False):
            return self.run(tensors)  # another thread has the arena
        try:
            if record is None:
                return self._record(key, tensors)
            outputs = record.run(tensors)
            return self.run(tensors) if outputs is None else outputs
        finally:
            self._lock.release()

    def run(self, tensors: Sequence[Any]) -> Any:
        """The outputs by way of Python alone."""
        return self._run(self._code, tensors)

    def _run(self, code: Callable[..., Any], tensors: Sequence[Any]) -> Any:
        arguments = list(self._blank)
        for place, tensor in zip(self._places, tensors, strict=True):
            arguments[place] = tensor
        with torch.no_grad():
            return code(*arguments)

    @property
    def arena_bytes(self) -> int:
        """Memory for intermediate tensors that records have used so far."""
        return 0 if self._arena is None else self._arena.peak

    def record(self, tensors: Sequence[Any]) -> Record | None:
        """A record of a run with these inputs, if there is one or can be one."""
        with self._lock:
            key = _key(tensors)
            if key not in self._records:
                self._record(key, tensors)
            return self._records[key]

    def _record(self, key: Hashable, tensors: Sequence[Any]) -> Any:
        if self._arena is None:
            self._arena = Arena()
        if len(self._records) >= _MOST_RECORDS:
            del self._records[next(iter(self._records))]
        arena = self._arena
        if any(isinstance(x, Tensor) and not _is_plain(x) for x in tensors):
            self._records[key] = None
            return self.run(tensors)
        recorder = Recorder(arena)
        try:
            buffers = [
                arena.empty(x.shape, x.stride(), x.dtype).copy_(x) if isinstance(x, Tensor) else x
                for x in tensors
            ]
            with alone(), recorder:
                outputs = self._run(self._code_of_records, buffers)
        except (CannotRecordError, MemoryError) as error:
            self._records[key] = None
            # an operator is the reason, whatever the shape; or the arena's end, for this one alone
            self._refused = isinstance(error, CannotRecordError)
            return self.run(tensors)
        held = tree_map_only(Tensor, lambda x: arena.alias(x) if arena.holds(x) else x, outputs)
        inputs = [
            arena.alias(x) if isinstance(x, Tensor) and arena.holds(x) else x for x in buffers
        ]
        outside = [x for x in tree_flatten(outputs)[0] if isinstance(x, Tensor)]
        kept = [x for x in outside if not arena.holds(x)]
        record = self._records[key] = Record(inputs, recorder, held, kept)
        return record.outputs()
