"""The same models as ONNX, in the forms that ONNX Runtime and OpenVINO run best.

Files are made once and kept in ``BENCH_CACHE``, by default ``~/.cache/deepseek/benchmarks``: an
export takes longer than most of what is measured.
"""

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from models import MODELS, Inputs, make
from torch import Tensor, nn

__all__ = ["onnxruntime", "onnxruntime_int8", "openvino", "openvino_int8"]

Run = Callable[[Inputs], Any]
_KINDS = {"minilm": ("bert", 12, 384), "bert-base": ("bert", 12, 768),
          "gpt2": ("gpt2", 12, 768), "vit-b16": ("vit", 12, 768)}  # fmt: skip
_CALIBRATION = 100


def onnxruntime(_model: nn.Module, name: str) -> Run:
    """ONNX Runtime behind its transformer optimizer, on as many threads as torch has."""
    return _session(_kept(name, "optimized.onnx", _optimize))


def onnxruntime_int8(_model: nn.Module, name: str) -> Run:
    """ONNX Runtime's dynamic quantization, per channel, of the optimized model."""
    return _session(_kept(name, "int8.onnx", _quantize))


def openvino(precision: str) -> Callable[[nn.Module, str], Run]:
    """OpenVINO, tuned for latency, computing in ``f32`` or ``bf16``."""

    def make_run(_model: nn.Module, name: str) -> Run:
        return _compiled(_kept(name, "model.onnx", _export), precision)

    return make_run


def openvino_int8(_model: nn.Module, name: str) -> Run:
    """OpenVINO after NNCF's quantization with calibration; the rest in bf16 where that is fast."""
    return _compiled(_kept(name, "calibrated.xml", _calibrate), None)


def _kept(name: str, kind: str, write: Callable[[str, Path], None]) -> Path:
    """A file of a model, made unless it is there."""
    root = Path(os.environ.get("BENCH_CACHE", Path.home() / ".cache/deepseek/benchmarks"))
    folder = root / f"{name}-torch{torch.__version__}-transformers{transformers.__version__}"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / kind
    if not file.exists():
        level = logging.root.manager.disable
        logging.disable(logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write(name, file)
        logging.disable(level)
    return file


class _First(nn.Module):
    """A model that takes tensors by position and gives its first output alone."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *tensors: Tensor) -> Any:
        return self.model(**dict(zip(self.names, tensors, strict=True)))[0]


def _export(name: str, file: Path) -> None:
    inputs = MODELS[name][1](2, 16)
    axes = {key: dict(enumerate(("batch", "length"))) for key in inputs}
    if "pixel_values" in inputs:
        axes = {"pixel_values": {0: "batch"}}
    with torch.no_grad():
        torch.onnx.export(
            _First(make(name, "eager"), list(inputs)), tuple(inputs.values()), str(file),
            input_names=list(inputs), output_names=["out"], dynamic_axes=axes, opset_version=17,
            dynamo=False,
        )  # fmt: skip


def _optimize(name: str, file: Path) -> None:
    from onnxruntime.transformers.optimizer import optimize_model

    kind, heads, width = _KINDS[name]
    source = _kept(name, "model.onnx", _export)
    optimized = optimize_model(
        str(source), model_type=kind, num_heads=heads, hidden_size=width, opt_level=0
    )
    optimized.save_model_to_file(str(file))


def _quantize(name: str, file: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        _kept(name, "optimized.onnx", _optimize), file,
        weight_type=QuantType.QInt8, per_channel=True,
        extra_options={"DefaultTensorType": 1, "MatMulConstBOnly": True},
    )  # fmt: skip


def _calibrate(name: str, file: Path) -> None:
    import nncf
    import openvino as ov

    model = ov.Core().read_model(str(_kept(name, "model.onnx", _export)))
    items = [MODELS[name][1](1, 64) for _ in range(_CALIBRATION)]
    arrays = [{key: value.numpy() for key, value in each.items()} for each in items]
    quantized = nncf.quantize(
        model, nncf.Dataset(arrays), subset_size=_CALIBRATION,
        model_type=nncf.ModelType.TRANSFORMER,
    )  # fmt: skip
    ov.save_model(quantized, str(file), compress_to_fp16=False)


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


def _compiled(file: Path, precision: str | None) -> Run:
    import openvino as ov

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        **({} if precision is None else {"INFERENCE_PRECISION_HINT": precision}),
    }
    compiled = ov.compile_model(ov.Core().read_model(str(file)), "CPU", settings)

    def run(inputs: Inputs) -> Any:
        return compiled({key: value.numpy() for key, value in inputs.items()})

    return run
