"""Accuracy and agreement of a fine-tuned classifier after the one line of ``deepseek quantize``.

Trains the classifier on first use (see ``train_classifier.py``), runs

    deepseek-quantize --model bert.ckpt --calib_data ./dataset --output int8_model
        --method dynamic_range

beside it, and holds the written folder against two others on the same held-out sentences: torch's
own dynamic INT8, and transformers with compressed-tensors reading that very folder. Prints one
JSON object for each figure; ``ratio`` above 1 means ours is better.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn
from train_classifier import CLASSES, prepared
from transformers import AutoModelForSequenceClassification

import deepseek
from deepseek.formats.model import load_model

LINE = "--model bert.ckpt --calib_data ./dataset --output int8_model --method dynamic_range"
PROGRAM = "from ds_cli.main import quantize; quantize()"
MAX_DROP, MIN_AGREEMENT = 0.5, 99.3  # per cent
BATCH = 32


def quantized_by_the_line(home: Path, work: Path) -> dict[str, object]:
    """Run the line in a folder that looks like the one of the classifier."""
    for path in home.iterdir():
        (work / path.name).symlink_to(path)
    command = [sys.executable, "-c", PROGRAM, *LINE.split(), "--json"]
    done = subprocess.run(command, cwd=work, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"deepseek-quantize ended with {done.returncode}")
    report: dict[str, object] = json.loads(done.stdout)
    return report


def held_out(home: Path) -> tuple[list[str], Tensor]:
    """The sentences and their classes."""
    lines = (home / "dataset" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["text"] for row in rows], torch.tensor([CLASSES.index(r["label"]) for r in rows])


def answers(model: nn.Module, encode: Callable[..., dict[str, Tensor]], texts: list[str]) -> Tensor:
    """The class of every text, in the order given."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(texts), BATCH):
            batch = encode(texts[start : start + BATCH], padding=True, return_tensors="pt")
            found.append(model(**batch).logits.argmax(-1))
    return torch.cat(found)


def torch_dynamic(model: nn.Module) -> nn.Module:
    """Torch's own INT8, with a scale per channel."""
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: nn.Module = quantize_dynamic(model, {nn.Linear: per_channel_dynamic_qconfig})
    return made


def share(flags: Tensor) -> float:
    """Of true flags, in per cent."""
    return 100 * float(flags.double().mean())


def record(figure: str, ours: float, theirs: float, peer: str, ratio: float, bar: float,
           met: bool, setting: dict[str, object]) -> None:  # fmt: skip
    """Print one line of the result."""
    line = {
        "figure": figure,
        "setting": setting,
        "ours": round(ours, 3),
        "theirs": round(theirs, 3),
        "unit": "% of held-out sentences",
        "peer": peer,
        "ratio": round(ratio, 4),
        "bar": bar,
        "met": met,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "cpu": torch.cpu.get_capabilities().get("cpu_name") or platform.machine(),
        "versions": {name: version(name) for name in _packages()},
    }
    print(json.dumps(line), flush=True)


def _packages() -> Sequence[str]:
    return ("torch", "transformers", "compressed-tensors", "deepseek-toolkit")


def main() -> None:
    """Quantize, measure, print."""
    home = prepared()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        report = quantized_by_the_line(home, work)
        quality = report["quality"]
        assert isinstance(quality, dict)
        setting: dict[str, object] = {
            "model": "MiniLM-L6, fine-tuned, 2 classes",
            "data": "movie reviews, held out",
            "n": quality["n"],
            "drop": quality["drop"],
            "drop_interval": quality["drop_interval"],
            "agreement_interval": quality["agreement_interval"],
            "size_bytes": report["size_bytes"],
        }
        before, after = 100 * quality["before"], 100 * quality["after"]
        record("accuracy after INT8", after, before, "torch fp32", after / before, MAX_DROP,
               100 * quality["drop"] <= MAX_DROP, setting)  # fmt: skip

        texts, labels = held_out(home)
        loaded = load_model(home / "bert.ckpt")
        assert loaded.tokenizer is not None
        original = answers(loaded.model, loaded.tokenizer, texts)
        ours = answers(deepseek.load(work / "int8_model"), loaded.tokenizer, texts)
        theirs = answers(torch_dynamic(loaded.model), loaded.tokenizer, texts)
        library = answers(
            AutoModelForSequenceClassification.from_pretrained(work / "int8_model"),
            loaded.tokenizer,
            texts,
        )

    agreement, other = share(ours == original), share(theirs == original)
    record("agreement with fp32", agreement, other, "torch dynamic INT8, per channel",
           agreement / other, MIN_AGREEMENT, agreement >= MIN_AGREEMENT,
           setting | {"their_accuracy": round(share(theirs == labels), 3)})  # fmt: skip
    same = share(ours == library)
    record("same answers as transformers from the same folder", same, 100.0,
           "transformers + compressed-tensors", same / 100, 99.8, same >= 99.8,
           setting | {"their_accuracy": round(share(library == labels), 3)})  # fmt: skip


if __name__ == "__main__":
    main()
