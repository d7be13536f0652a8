"""GPT-2 with weights of 4 bits: what it loses, and how fast it writes.

Two figures, one JSON object each; ``ratio`` above 1 means ours is better.

* Perplexity of the GPT-2 that ``train_models.py`` trains on Shakespeare, on text it has not seen:
  fp32 against 4 bits in groups of 64 by each rounding.
* Tokens a second that a GPT-2 of 124 million parameters writes, one text at a time with a cache:
  fp32 in torch against 4 bits with INT8 embeddings. Speed does not depend on the numbers in the
  weights, so they are random.

    python benchmarks/quantization/weight_only.py [loss] [speed]
"""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from train_models import prepared
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase

import deepseek
from deepseek.formats.model import load_model
from deepseek.progress import silent
from deepseek.quantization.batches import Batch
from deepseek.quantization.methods import METHODS

LENGTH, HELD_OUT, CALIBRATION = 128, 400, 128  # tokens of a row; rows
TOKENS, ROUNDS, PROMPT = 24, 5, 32


def record(figure: str, ours: float, theirs: float, unit: str, ratio: float, bar: float,
           met: bool, setting: dict[str, object]) -> None:  # fmt: skip
    """Print one line of the result."""
    line = {
        "figure": figure, "setting": setting, "ours": round(ours, 4), "theirs": round(theirs, 4),
        "unit": unit, "peer": "torch fp32", "ratio": round(ratio, 4), "bar": bar, "met": met,
        "threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 2),
        "cpu": torch.cpu.get_capabilities().get("cpu_name"),
        "versions": {name: version(name) for name in ("torch", "transformers")},
    }  # fmt: skip
    print(json.dumps(line), flush=True)


def texts(place: Path, tokenizer: PreTrainedTokenizerBase, rows: int) -> Tensor:
    """Texts of a file of JSON lines, one after the other, cut into ``[rows, LENGTH]`` tokens."""
    ids: list[int] = []
    with place.open(encoding="utf-8") as lines:
        for line in lines:
            ids += tokenizer(json.loads(line)["text"])["input_ids"]
            if len(ids) >= rows * LENGTH:
                break
    return torch.tensor(ids[: rows * LENGTH]).view(-1, LENGTH)


@torch.inference_mode()
def perplexity(model: nn.Module, rows: Tensor) -> float:
    """Of the next token."""
    losses = [model(input_ids=part, labels=part).loss * len(part) for part in rows.split(16)]
    return float((torch.stack(losses).sum() / len(rows)).exp())


def loss() -> None:
    """What 4 bits cost."""
    home = prepared("gpt2")
    loaded = load_model(home / "model")
    assert loaded.tokenizer is not None
    held = texts(home / "dataset" / "test.jsonl", loaded.tokenizer, HELD_OUT)
    train = texts(home / "dataset" / "train.jsonl", loaded.tokenizer, CALIBRATION)
    exact = perplexity(loaded.model, held)
    for rounding in ("nearest", "awq", "gptq"):
        config = deepseek.QuantizeConfig(
            method="weight_only", bits=4, group_size=64, rounding=rounding
        )
        calibration = [Batch({"input_ids": part}) for part in train.split(16)]
        made = METHODS["weight_only"](loaded.model, calibration, config, silent).model
        found = perplexity(made, held)
        record("perplexity after 4 bits", found, exact, "perplexity of tokens", exact / found,
               1 / 1.03, found <= 1.03 * exact,
               {"model": "GPT-2, 12 layers of 768, Shakespeare", "rounding": rounding,
                "group_size": 64, "n": held.numel()})  # fmt: skip


@torch.inference_mode()
def tokens_a_second(model: nn.Module, prompt: Tensor) -> float:
    """Of greedy writing, the prompt not counted."""
    result = model(prompt, use_cache=True)
    token, cache = result.logits[:, -1:].argmax(-1), result.past_key_values
    began = time.perf_counter()
    for _ in range(TOKENS):
        result = model(token, cache=cache, use_cache=True)
        token, cache = result.logits[:, -1:].argmax(-1), result.past_key_values
    return TOKENS / (time.perf_counter() - began)


def speed() -> None:
    """How fast each writes; they take turns."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config()).eval()
    prompt = torch.randint(50257, (1, PROMPT))
    config = deepseek.QuantizeConfig(method="weight_only", bits=4, group_size=64, embeddings=True)
    made = METHODS["weight_only"](model, [Batch({"input_ids": prompt})], config, silent).model
    sides = {"fp32": model, "4 bits": made}
    for side in sides.values():
        tokens_a_second(side, prompt)
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(ROUNDS):
        for name in list(sides)[:: 1 if number % 2 else -1]:
            found[name].append(tokens_a_second(sides[name], prompt))
    ours, theirs = median(found["4 bits"]), median(found["fp32"])
    record("decoding, weights of 4 bits", ours, theirs, "tokens/s", ours / theirs, 2.5,
           ours >= 2.5 * theirs,
           {"model": "GPT-2, 124 M parameters", "group_size": 64, "embeddings": "INT8",
            "batch": 1})  # fmt: skip


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["loss", "speed"]
    for name in wanted:
        {"loss": loss, "speed": speed}[name]()
