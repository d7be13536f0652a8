"""From a model in torch to an ONNX program.

Torch has two exporters. The one that follows the program (``dynamo``) writes operator sets from 18
on; asked for an older one it converts, and where that fails it silently keeps 18. The older one
that records a run writes 14 to 20. So the operator set decides: 18 and above the first, below it
the second. Both gave right results at every size with BERT, GPT-2, Llama, ViT and T5.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from onnxscript import ir

from deepseek.errors import InputError
from deepseek.formats.exporting.outputs import outputs_of
from deepseek.formats.exporting.signature import Signature
from deepseek.formats.quiet import quiet

__all__ = ["FIRST_FOLLOWED", "export", "save"]

FIRST_FOLLOWED = 18
_FIRST_WITH_ROTARY = 23
_LARGEST_IN_ONE_FILE = 2 * 10**9  # protobuf ends at 2 GiB, and the graph needs some of it


def export(model: torch.nn.Module, signature: Signature, architecture: str, opset: int) -> ir.Model:
    """Export ``model`` with the free axes of ``signature``.

    Raises:
        InputError: The model cannot be exported.
    """
    dtype = next(model.parameters()).dtype
    inputs = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in signature.make(signature.example).items()
    }
    exporter = _follow if opset >= FIRST_FOLLOWED else _record
    try:
        with quiet(), torch.no_grad():
            outputs = outputs_of(model, inputs)
            program = _Program(model, tuple(inputs), opset).eval()
            exported = exporter(program, inputs, outputs, signature, opset)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        other = "17" if opset >= FIRST_FOLLOWED else "18"
        raise InputError(
            f"{architecture} cannot be exported to ONNX with operator set {opset}: {reason[0]}",
            hint=f"--opset {other} goes another way",
        ) from error
    return _tidied(exported)


def save(model: ir.Model, path: Path) -> None:
    """Write a program; above 2 GB its weights go to ``<name>.data`` beside it."""
    weights = [value.const_value for value in model.graph.initializers.values()]
    size = sum(tensor.nbytes for tensor in weights if tensor is not None)
    external = f"{path.name}.data" if size > _LARGEST_IN_ONE_FILE else None
    ir.save(model, path, external_data=external)


class _Program(torch.nn.Module):
    """Calls a model with tensors by position, and returns its outputs as a tuple.

    From operator set 23 on, rotary embeddings become one operator, and ONNX Runtime wants its
    angles for every sample of a batch. A model left to itself computes them once for all.
    """

    def __init__(self, model: torch.nn.Module, names: tuple[str, ...], opset: int) -> None:
        super().__init__()
        self.model = model
        self._names = names
        rotary = getattr(model.config, "rope_parameters", None) is not None
        self._spell_out_positions = opset >= _FIRST_WITH_ROTARY and rotary

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        inputs = dict(zip(self._names, tensors, strict=True))
        if self._spell_out_positions:
            tokens = inputs["input_ids"]
            inputs["position_ids"] = torch.arange(tokens.shape[1]).expand(tokens.shape)
        return tuple(outputs_of(self.model, inputs).values())


_Exporter = Callable[
    [_Program, Mapping[str, torch.Tensor], Mapping[str, torch.Tensor], Signature, int], ir.Model
]


def _follow(
    program: _Program,
    inputs: Mapping[str, torch.Tensor],
    outputs: Mapping[str, torch.Tensor],
    signature: Signature,
    opset: int,
) -> ir.Model:
    exported = torch.onnx.export(
        program,
        tuple(inputs.values()),
        dynamo=True,
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_shapes=(tuple(dict(signature.axes[name]) for name in inputs),),
        opset_version=opset,
        verbose=False,
    )
    assert exported is not None
    return exported.model


def _record(
    program: _Program,
    inputs: Mapping[str, torch.Tensor],
    outputs: Mapping[str, torch.Tensor],
    signature: Signature,
    opset: int,
) -> ir.Model:
    free = {name: dict(axes) for name, axes in signature.axes.items()}
    sizes = {inputs[name].shape[axis]: label for name, axes in free.items()
             for axis, label in axes.items()}  # fmt: skip
    for name, value in outputs.items():
        labels = {axis: sizes[size] for axis, size in enumerate(value.shape[:2]) if size in sizes}
        free[name] = labels | {0: "batch"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            program,
            tuple(inputs.values()),
            path,
            dynamo=False,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=free,
            opset_version=opset,
        )
        return ir.external_data.load_to_model(ir.load(path))


def _tidied(model: ir.Model) -> ir.Model:
    """Give weights the names they have in the model, and take out traces of this machine."""
    for value in list(model.graph.initializers.values()):
        if value.name is not None and value.name.startswith("model."):
            value.name = value.name.removeprefix("model.")
    graphs: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for graph in graphs:
        graph.metadata_props.clear()
        for node in ir.traversal.RecursiveGraphIterator(graph):
            _forget(node)
    return model


def _forget(node: Any) -> None:
    """Stack traces with paths, and copies of the graph in another notation."""
    node.metadata_props.clear()
    node.doc_string = None
    for value in node.outputs:
        value.metadata_props.clear()
