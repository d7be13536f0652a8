"""How others run the same models: eagerly, Inductor, ONNX Runtime, OpenVINO."""

import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from models import MODELS, Inputs, make
from torch import Tensor, nn

__all__ = ["PEERS"]

Run = Callable[[Inputs], Any]


def eager(model: nn.Module, _name: str) -> Run:
    """PyTorch as it is."""

    def run(inputs: Inputs) -> Any:
        with torch.inference_mode():
            return model(**inputs)

    return run


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
    return eager(torch.compile(model, dynamic=False), _name)


class _First(nn.Module):
    """A model that takes tensors by position and gives its first output alone."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *tensors: Tensor) -> Any:
        return self.model(**dict(zip(self.names, tensors, strict=True)))[0]


def _exported(name: str) -> Path:
    """The model as ONNX, in the form that ONNX Runtime optimizes best."""
    file = Path(tempfile.mkdtemp()) / "model.onnx"
    inputs = MODELS[name][1](2, 16)
    axes = {key: dict(enumerate(("batch", "length"))) for key in inputs}
    if "pixel_values" in inputs:
        axes = {"pixel_values": {0: "batch"}}
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _First(make(name, "eager"), list(inputs)), tuple(inputs.values()), str(file),
            input_names=list(inputs), output_names=["out"], dynamic_axes=axes, opset_version=17,
            dynamo=False,
        )  # fmt: skip
    logging.disable(logging.NOTSET)
    return file


def onnxruntime(_model: nn.Module, name: str) -> Run:
    """ONNX Runtime with all its optimizations, on as many threads as torch has."""
    return _session(_exported(name))


def onnxruntime_int8(_model: nn.Module, name: str) -> Run:
    """ONNX Runtime's dynamic quantization, per channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    source = _exported(name)
    target = source.with_name("int8.onnx")
    options = {"DefaultTensorType": 1, "MatMulConstBOnly": True}
    logging.disable(logging.WARNING)
    quantize_dynamic(
        source, target, weight_type=QuantType.QInt8, per_channel=True, extra_options=options
    )
    logging.disable(logging.NOTSET)
    return _session(target)


def _session(file: Path) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def run(inputs: Inputs) -> Any:
        return session.run(None, {key: value.numpy() for key, value in inputs.items()})

    return run


def openvino(_model: nn.Module, name: str) -> Run:
    """OpenVINO in fp32, tuned for latency."""
    import openvino as ov

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = ov.compile_model(ov.Core().read_model(str(_exported(name))), "CPU", settings)

    def run(inputs: Inputs) -> Any:
        return compiled({key: value.numpy() for key, value in inputs.items()})

    return run


PEERS: dict[str, dict[str, Callable[[nn.Module, str], Run]]] = {
    "fp32": {
        "eager": eager,
        "inductor": inductor,
        "onnxruntime": onnxruntime,
        "openvino": openvino,
    },
    "int8": {"eager int8": eager_int8, "onnxruntime int8": onnxruntime_int8},
}
"""Precision -> name -> a function of the model that returns how to run it."""
