"""``deepseek.compile``: a model that runs as a program of kernels."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from deepseek.compiler import diagnostics, kept
from deepseek.compiler.caches import CannotFlattenError, adopt
from deepseek.compiler.capture import Inputs, capture, flatten
from deepseek.compiler.collector import uncollected
from deepseek.compiler.parts import Parts
from deepseek.compiler.program import Program
from deepseek.compiler.rewrite import rewrite
from deepseek.compiler.rewrite.weights import Packing
from deepseek.compiler.tracing import alone
from deepseek.errors import InputError

if TYPE_CHECKING:
    from deepseek.compiler.capture import Captured
    from deepseek.compiler.rewrite import Passed

__all__ = ["PRECISIONS", "Compilation", "CompiledModel", "compile"]

PRECISIONS = ("fp32", "bf16", "int8")
"""How linear layers compute: as the model is, in bf16, or with INT8 weights and activations."""

_MOST_GRAPHS = 16
_log = logging.getLogger("deepseek.compiler")


@dataclass(slots=True)
class Compilation:
    """One graph of a model, and how it came to be.

    Attributes:
        captured: For which inputs it is.
        program: What runs.
        passes: What each pass left.
        seconds: How long capturing and rewriting took.
    """

    captured: Captured
    program: Program
    passes: list[Passed] = field(repr=False)
    seconds: float


class CompiledModel:
    """A model that is compiled when it is first called, once for each kind of inputs.

    Sizes of inputs may change from call to call without another compilation, as far as the model
    itself treats them alike. It computes without gradients, with the parameters it had when it was
    first called. A model that cannot be captured goes through ``torch.compile`` with this
    backend, in fp32, which takes the parts between what cannot be; the log says why.

    Attributes:
        model: The model.
        precision: How linear layers compute.
        compilations: What was compiled so far.
        refusal: Why the model is not captured whole, if it is not.
    """

    def __init__(self, model: torch.nn.Module, precision: str) -> None:
        self.model = model
        self.precision = precision
        self.compilations: list[Compilation] = []
        self.refusal: str | None = None
        self._packing = Packing(precision)
        self._parts: Parts | None = None
        self._lock = threading.Lock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the model returns for the same arguments."""
        try:
            inputs = flatten(args, kwargs)
        except CannotFlattenError:
            return self._uncompiled(args, kwargs)
        compilation = self._find(inputs)
        if compilation is None:
            return self._uncompiled(args, kwargs)
        outputs = compilation.program(inputs.tensors)
        result = pytree.tree_unflatten(outputs, compilation.captured.result)
        adopt((*args, *kwargs.values()), result)
        return result

    def _uncompiled(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        parts = self._parts
        with torch.no_grad():
            if parts is None or torch.is_autocast_enabled("cpu"):
                return self.model(*args, **kwargs)
            return parts(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def compiled_for(self, *args: Any, **kwargs: Any) -> Compilation | None:
        """The compilation that serves these arguments, made now if need be."""
        return self._find(flatten(args, kwargs))

    def _find(self, inputs: Inputs) -> Compilation | None:
        if self.model.training:
            raise InputError(
                "expected a model in evaluation mode, got one in training: call eval()"
            )
        if self.refusal is not None or torch.is_autocast_enabled("cpu"):
            return None
        for compilation in self.compilations:
            if compilation.captured.fits(inputs):
                return compilation
        with self._lock, uncollected():
            return self._compile(inputs)

    def _compile(self, inputs: Inputs) -> Compilation | None:
        for compilation in self.compilations:  # another thread may have been first
            if compilation.captured.fits(inputs):
                return compilation
        if len(self.compilations) >= _MOST_GRAPHS:
            self._refuse(f"it would need more than {_MOST_GRAPHS} graphs")
            return None
        begin = time.perf_counter()
        try:
            with alone():
                captured = self._captured(inputs)
            captured_in = time.perf_counter() - begin
            passes = rewrite(
                captured.graph, captured.constants, self._packing, texts=diagnostics.wants_graphs()
            )
        except Exception as error:  # noqa: BLE001 - torch.export raises anything
            self._refuse(str(error).strip().partition("\n")[0])
            return None
        program = Program(captured.graph, captured.inputs, captured.constants)
        compilation = Compilation(captured, program, passes, time.perf_counter() - begin)
        self.compilations.append(compilation)
        diagnostics.tell(type(self.model).__name__, captured_in, compilation.seconds, passes)
        return compilation

    def _captured(self, inputs: Inputs) -> Captured:
        """The graph that an earlier process kept, or a new one."""
        key = kept.key_of(self.model, inputs)
        captured = kept.find(key, self.model, inputs)
        if captured is None:
            captured = capture(self.model, inputs)
            kept.keep(key, self.model, captured)
        return captured

    def _refuse(self, reason: str) -> None:
        self._parts = Parts(self.model)
        self.refusal = reason
        name = type(self.model).__name__
        _log.warning("%s is compiled in parts, by torch.compile: %s", name, reason)


def compile(model: torch.nn.Module, precision: str = "fp32") -> Any:  # noqa: A001 - as in torch
    """Make a model run as a program of kernels; no C++ compiler is needed.

    Args:
        model: In evaluation mode. On a CUDA device it is left to torch.compile.
        precision: ``fp32`` leaves numbers as they are; ``bf16`` rounds what linear layers and
            attention read, and leaves norms, softmax and sums in fp32; ``int8`` multiplies linear
            layers in INT8, weights rounded per channel, activations per token while running.

    Returns:
        A :class:`CompiledModel`: called as the model is.

    Raises:
        InputError: The precision is unknown.
    """
    diagnostics.listen()
    if precision not in PRECISIONS:
        raise InputError(f"expected a precision of {PRECISIONS}, got {precision!r}")
    parameter = next(model.parameters(), None)
    if parameter is not None and parameter.is_cuda:
        return torch.compile(model)
    return CompiledModel(model, precision)
