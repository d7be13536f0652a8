"""Bring a program into the form that is quantized: constants folded, nodes named, Gemm spelled out.

A layer is known by the path of its module where its weight is one of the model's, turned or not;
else by the name of the weight or the node.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn
from transformers.pytorch_utils import Conv1D

from deepseek.errors import InputError
from deepseek.formats.damage import blamed_on
from deepseek.formats.quiet import quiet

__all__ = ["Node", "is_large", "prepare"]

_LARGEST_IN_ONE_FILE = 2 * 10**9  # protobuf ends at 2 GiB, and the graph needs some of it
_KINDS = ("MatMul", "Conv")
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger",
              "QLinearMatMul", "QLinearConv", "MatMulNBits", "ConvInteger")  # fmt: skip
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A product with a constant weight.

    Attributes:
        name: Of the node, and of the layer for people.
        kind: ``MatMul`` or ``Conv``.
        in_features: Numbers that go into an output.
        out_features: Outputs, or channels.
        bytes: Of the weight.
    """

    name: str
    kind: str
    in_features: int
    out_features: int
    bytes: int


def prepare(source: Path, dest: Path, model: nn.Module | None) -> tuple[Node, ...]:
    """Write the program in that form.

    Args:
        source: The program.
        dest: Where to write; external data go beside it.
        model: What it was exported from, for the names; None where that is not known.

    Returns:
        What can be quantized.

    Raises:
        InputError: The program is damaged or quantized already.
    """
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with blamed_on(source, "an ONNX program"):
        _refuse_quantized(onnx.load(source, load_external_data=False))
        large = is_large(source)
        with quiet():
            quant_pre_process(
                str(source), str(dest), skip_symbolic_shape=True, save_as_external_data=large,
                all_tensors_to_one_file=True,
            )  # fmt: skip
        program = ONNXModel(onnx.load(dest))
    program.replace_gemm_with_matmul()
    program.model.graph.ClearField("value_info")  # it knows turned weights by their old shapes
    nodes = tuple(_named(program.model, _paths(model)))
    program.topological_sort()
    onnx.save(program.model, dest, save_as_external_data=large, location=f"{dest.name}.data")
    return nodes


def is_large(program: Path) -> bool:
    """Whether the weights of a program need a file of their own."""
    sizes = [path.stat().st_size for path in program.parent.glob(f"{program.name}*")]
    return sum(sizes) > _LARGEST_IN_ONE_FILE


def _refuse_quantized(program: onnx.ModelProto) -> None:
    for node in program.graph.node:
        if node.op_type in _QUANTIZED:
            raise InputError(
                "expected a program in floating point, found one that is quantized already "
                f"(node {node.name or node.op_type} is a {node.op_type})"
            )


def _named(program: onnx.ModelProto, paths: Mapping[bytes, str]) -> list[Node]:
    """Give every node a name of its own; the nodes that can be quantized."""
    weights = {tensor.name: tensor for tensor in program.graph.initializer}
    taken: set[str] = set()
    found = []
    for number, node in enumerate(program.graph.node):
        weight = weights.get(node.input[1]) if len(node.input) > 1 else None
        is_product = node.op_type in _KINDS and weight is not None and len(weight.dims) > 1
        wanted = node.name or f"{node.op_type}_{number}"
        if is_product and weight is not None and weight.data_type in _FLOATS:
            wanted = _path_of(weight, paths) or wanted
        node.name = wanted if wanted not in taken else f"{wanted}_{number}"
        taken.add(node.name)
        if is_product and weight is not None and weight.data_type in _FLOATS:
            found.append(_node(node, weight))
    return found


def _node(node: onnx.NodeProto, weight: onnx.TensorProto) -> Node:
    dims = list(weight.dims)
    inputs, outputs = (prod(dims[1:]), dims[0]) if node.op_type == "Conv" else (dims[-2], dims[-1])
    width = 2 if weight.data_type == onnx.TensorProto.FLOAT16 else 4
    return Node(name=node.name, kind=node.op_type, in_features=inputs, out_features=outputs,
                bytes=prod(dims) * width)  # fmt: skip


def _path_of(weight: onnx.TensorProto, paths: Mapping[bytes, str]) -> str | None:
    known = paths.get(_mark(numpy_helper.to_array(weight))) if paths else None
    if known is None and "." in weight.name and "::" not in weight.name:
        return weight.name.removesuffix(".weight")
    return known


def _paths(model: nn.Module | None) -> dict[bytes, str]:
    """The paths of layers by their weights as a program holds them."""
    found: dict[bytes, str] = {}
    for path, module in model.named_modules() if model is not None else ():
        if isinstance(module, nn.Linear | Conv1D | nn.Conv2d):
            weight = module.weight.detach().float()
            turned = weight.t() if isinstance(module, nn.Linear) else weight
            found.setdefault(_mark(turned.numpy()), path)
    return found


def _mark(weight: NDArray[Any]) -> bytes:
    shape = str(weight.shape).encode()
    numbers = np.ascontiguousarray(weight.reshape(-1)[:: max(1, weight.size // 4096)])
    return hashlib.blake2b(shape + numbers.astype(np.float32).tobytes(), digest_size=16).digest()
