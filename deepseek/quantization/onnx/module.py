"""An ONNX program that is called like a model of transformers."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PretrainedConfig

from deepseek.errors import InputError

__all__ = ["OnnxModule", "open_session"]

_NUMBERS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
_GRANTED = {"attention_mask": 1, "token_type_ids": 0}
_KNOWN = ("logits", "last_hidden_state")


class OnnxModule(nn.Module):
    """Runs in ONNX Runtime on the processor.

    Args:
        path: The program.
        config: What is known of the model.
        architecture: The class it was exported from, as far as that is known.

    Attributes:
        path: The program.
        config: As given.
        architecture: As given.
        main_input_name: The first input.

    Raises:
        InputError: ONNX Runtime cannot load it.
    """

    def __init__(self, path: Path, config: PretrainedConfig, architecture: str) -> None:
        super().__init__()
        self.path = path
        self.config = config
        self.architecture = architecture
        self._session = open_session(path)
        inputs = self._session.get_inputs()
        self._types = {entry.name: _NUMBERS.get(entry.type) for entry in inputs}
        self.main_input_name: str = inputs[0].name
        self._names = _named(self._session.get_outputs(), architecture)
        self.forward = self._forward()

    def _forward(self) -> Any:
        """With the names of the inputs for parameters: what prepares data asks for them."""

        def forward(**inputs: Tensor) -> SimpleNamespace:
            return self._run(inputs)

        named = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in self._types]
        forward.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
        return forward

    def shapes(self) -> tuple[list[Sequence[Any]], Sequence[Any]]:
        """Of the inputs, and of the output that is compared; what is free has a name or None."""
        outputs = {entry.name: entry.shape for entry in self._session.get_outputs()}
        return [entry.shape for entry in self._session.get_inputs()], outputs[
            next(iter(self._names))
        ]

    def feed(self, inputs: dict[str, Tensor]) -> dict[str, NDArray[Any]]:
        """Inputs as ONNX Runtime takes them.

        What the program does not know is left out; what transformers would take for granted, a mask
        of ones and a type of zeros, is filled in.
        """
        known = dict(inputs)
        for name, fill in _GRANTED.items():
            if name in self._types and name not in known and "input_ids" in known:
                known[name] = torch.full_like(known["input_ids"], fill)
        return {
            name: np.ascontiguousarray(known[name].numpy(), dtype=kind)
            for name, kind in self._types.items()
            if name in known
        }

    def _run(self, inputs: dict[str, Tensor]) -> SimpleNamespace:
        try:
            values = self._session.run(list(self._names), self.feed(inputs))
        except Exception as error:  # ONNX Runtime's errors share no base that it exports
            raise RuntimeError(str(error).strip().splitlines()[0]) from error
        tensors = (torch.from_numpy(value) for value in values)
        return SimpleNamespace(**dict(zip(self._names.values(), tensors, strict=True)))


def open_session(path: Path) -> Any:
    """A session on the processor with as many threads as torch has.

    Raises:
        InputError: ONNX Runtime cannot load the program.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: expected a program for ONNX Runtime; it says: {reason}"
        ) from error


def _named(outputs: Any, architecture: str) -> dict[str, str]:
    """The outputs that are compared, and what they are: an unknown name is told by its shape."""
    names = {entry.name: entry.name for entry in outputs if entry.name in _KNOWN}
    if names:
        return names
    floats = [entry for entry in outputs if entry.type in ("tensor(float)", "tensor(float16)")]
    if not floats:
        raise InputError("expected a program with an output of floating-point numbers, found none")
    first = floats[0]
    states = len(first.shape or ()) == 3 and "For" not in architecture
    return {first.name: "last_hidden_state" if states else "logits"}
