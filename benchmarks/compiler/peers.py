"""How others run the same models: eagerly, Inductor, torchao, ONNX Runtime, OpenVINO."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from exported import onnxruntime, onnxruntime_int8, openvino, openvino_int8
from models import Inputs
from torch import nn

__all__ = ["BARS", "PEERS"]

Run = Callable[[Inputs], Any]
Peer = Callable[[nn.Module, str], Run]


def eager(model: nn.Module, _name: str) -> Run:
    """PyTorch as it is."""

    def run(inputs: Inputs) -> Any:
        with torch.inference_mode():
            return model(**inputs)

    return run


def eager_bf16(model: nn.Module, _name: str) -> Run:
    """PyTorch with weights and activations in bf16."""
    whole = eager(model.bfloat16(), _name)
    return lambda inputs: whole(_in_bf16(inputs))


def eager_int8(model: nn.Module, _name: str) -> Run:
    """Linear layers by ``torch.ao``'s dynamic quantization."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)
    return eager(quantized, _name)


def inductor(model: nn.Module, _name: str) -> Run:
    """TorchInductor with frozen weights; it needs a C++ compiler."""
    import torch._inductor.config as settings

    settings.freezing = True
    torch.compiler.reset()
    compiled: Any = torch.compile(model, dynamic=False)

    def run(inputs: Inputs) -> Any:
        with torch.no_grad():
            return compiled(**inputs)

    return run


def inductor_bf16(model: nn.Module, _name: str) -> Run:
    """TorchInductor with frozen weights, weights and activations in bf16."""
    whole = inductor(model.bfloat16(), _name)
    return lambda inputs: whole(_in_bf16(inputs))


def torchao_int8(model: nn.Module, _name: str) -> Run:
    """INT8 weights and activations by torchao, then TorchInductor with frozen weights."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_(model, Int8DynamicActivationInt8WeightConfig())
    return inductor(model, _name)


def _in_bf16(inputs: Inputs) -> Inputs:
    return {key: x.bfloat16() if x.is_floating_point() else x for key, x in inputs.items()}


PEERS: dict[str, dict[str, Peer]] = {
    "fp32": {
        "eager": eager,
        "inductor": inductor,
        "onnxruntime": onnxruntime,
        "openvino": openvino("f32"),
    },
    "bf16": {
        "eager bf16": eager_bf16,
        "inductor bf16": inductor_bf16,
        "openvino bf16": openvino("bf16"),
    },
    "int8": {
        "eager int8": eager_int8,
        "onnxruntime int8": onnxruntime_int8,
        "torchao int8": torchao_int8,
        "openvino int8": openvino_int8,
    },
}
"""Precision -> name -> a function of the model that returns how to run it."""

BARS = {
    "eager": 1.30, "inductor": 1.25, "onnxruntime": 1.15, "openvino": 1.10,
    "eager bf16": 1.30, "inductor bf16": 1.15, "openvino bf16": 1.10,
    "eager int8": 1.5, "onnxruntime int8": 1.35, "torchao int8": 1.35, "openvino int8": 1.05,
}  # fmt: skip
"""Name -> the geometric mean of ratios that is aimed at."""
