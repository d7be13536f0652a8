"""The tools people quantize with, each as a function from a model in fp32 to one in INT8."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from int8_accuracy import torch_dynamic
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

import deepseek
from deepseek.formats.model import LoadedModel
from deepseek.formats.quiet import quiet
from deepseek.quantization.onnx.methods import WRITERS, Setting
from deepseek.quantization.onnx.module import OnnxModule
from deepseek.quantization.onnx.prepare import prepare

Inputs = Mapping[str, Tensor]
Answer = Callable[[Inputs], Tensor]


def in_torch(model: nn.Module) -> nn.Module:
    """Torch's dynamic INT8, per channel. It takes no ``Conv1D``: those become linear first."""
    plain = deepcopy(model)
    for module in list(plain.modules()):
        for name, child in module.named_children():
            if isinstance(child, Conv1D):
                setattr(module, name, _linear(child))
    return torch_dynamic(plain)


def _linear(layer: Conv1D) -> nn.Linear:
    made = nn.Linear(*layer.weight.shape)
    made.weight, made.bias = nn.Parameter(layer.weight.t().contiguous()), layer.bias
    return made


def in_onnx_runtime(loaded: LoadedModel, program: Path, folder: Path) -> OnnxModule:
    """ONNX Runtime's dynamic INT8, weights per channel."""
    nodes = prepare(program, folder / "float.onnx", loaded.model)
    setting = Setting(source=folder / "float.onnx", config=deepseek.QuantizeConfig(),
                      ranges=folder / "ranges.json")  # fmt: skip
    names = [node.name for node in nodes if node.kind == "MatMul"]
    with quiet():
        WRITERS["dynamic_range"](setting, folder / "int8.onnx", names)
    return OnnxModule(folder / "int8.onnx", loaded.config, loaded.architecture)


def openvino_is_there() -> bool:
    """Whether OpenVINO and NNCF are installed."""
    return bool(find_spec("nncf") and find_spec("openvino"))


def in_openvino(program: Path, batches: Iterable[Inputs], count: int, dest: Path) -> Answer:
    """NNCF's post-training quantization, compiled for latency.

    Args:
        program: In ONNX, in fp32.
        batches: The first ``count`` of them are calibrated on.
        count: How many.
        dest: Where the quantized model is written, an ``.xml``.
    """
    import nncf
    import openvino

    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": torch.get_num_threads()})
    model = core.read_model(program)
    known = {name for entry in model.inputs for name in entry.names}

    def feed(inputs: Inputs) -> dict[str, Any]:
        return {name: value.numpy() for name, value in inputs.items() if name in known}

    feeds = [feed(batch) for batch in islice(batches, count)]
    with quiet():
        model = nncf.quantize(model, nncf.Dataset(feeds), model_type=nncf.ModelType.TRANSFORMER)
        openvino.save_model(model, dest, compress_to_fp16=False)
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    return lambda inputs: torch.from_numpy(compiled(feed(inputs))[compiled.output(0)])


def stored_bytes(model: nn.Module) -> int:
    """Of a model as torch stores it."""
    with tempfile.TemporaryFile() as file:
        torch.save(model.state_dict(), file)
        return file.tell()


def versions() -> dict[str, str]:
    """Of what is compared, where it is installed."""
    found = {}
    for name in ("torch", "onnxruntime-gpu", "onnxruntime", "openvino", "nncf"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
