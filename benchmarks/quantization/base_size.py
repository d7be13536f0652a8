"""A BERT of base size from file to INT8 folder: how long it takes, and how much memory.

Neither depends on the numbers in the weights, so they are random; so is the verdict, which
``--allow_drop`` passes over. Three figures, one JSON object each; ``ratio`` above 1 is better than
the bar.

* Seconds of ``deepseek quantize --method dynamic_range --search never`` on 200 texts, everything
  included, from the start of the process to its end.
* Peak memory of the same with ``static`` on 10,000 short texts to calibrate on, above that of a
  process that only imports torch and transformers, as a multiple of the model.
* Seconds of ``--search always`` on 2,000 texts of 60 tokens, and of the verdict on as many others.

    python benchmarks/quantization/base_size.py [time] [memory] [search]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

WORDS = [f"w{number}" for number in range(2000)]
PROGRAM = "from ds_cli.main import quantize; quantize()"
IMPORTS = "import torch, transformers; from deepseek.formats.model import load_model"
WRAPPED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=sys.stderr)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def made(folder: Path, texts: dict[str, int], words: int) -> int:
    """A model, a tokenizer and texts in a folder; gives the bytes of the model."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(architectures=["BertForSequenceClassification"])
    )
    model.save_pretrained(folder / "model")
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=512
    ).save_pretrained(folder / "model")
    random = Random(0)
    (folder / "data").mkdir()
    for name, count in texts.items():
        lines = (" ".join(random.choices(WORDS, k=words)) for _ in range(count))
        (folder / "data" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return sum(p.numel() * p.element_size() for p in model.parameters())


def run(folder: Path, *options: str) -> tuple[float, int]:
    """Seconds and the largest resident set of one run of the command."""
    line = [sys.executable, "-c", PROGRAM, f"--model={folder / 'model'}",
            f"--calib_data={folder / 'data'}", f"--output={folder / 'out'}", "--overwrite",
            "--allow_drop", "--search=never", "--samples=20000", *options]  # fmt: skip
    began = time.perf_counter()
    code, peak = measured(line)
    seconds = time.perf_counter() - began
    assert code in (0, 1), f"deepseek quantize ended with {code}"
    return seconds, peak


def measured(line: list[str]) -> tuple[int, int]:
    """The exit code and the largest resident set of a process."""
    wrapped = [sys.executable, "-c", WRAPPED, *line]
    said = subprocess.run(wrapped, capture_output=True, text=True, check=True).stdout.split()
    return int(said[0]), int(said[1])


def record(figure: str, ours: float, bar: float, unit: str, setting: dict[str, object]) -> None:
    """Print one line of the result."""
    print(json.dumps({
        "figure": figure, "setting": setting, "ours": round(ours, 3), "theirs": bar, "unit": unit,
        "peer": "the bar", "ratio": round(bar / ours, 3), "bar": 1.0, "met": ours <= bar,
        "threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 2),
        "cpu": torch.cpu.get_capabilities().get("cpu_name"),
        "versions": {name: version(name) for name in ("torch", "transformers")},
    }), flush=True)  # fmt: skip


def whole_time() -> None:
    """From file to folder."""
    with tempfile.TemporaryDirectory() as name:
        size = made(Path(name), {"train": 100, "test": 100}, words=20)
        seconds, _ = run(Path(name))
    record("dynamic_range of a BERT-base, from file to folder", seconds, 20.0, "s",
           {"model_bytes": size, "measured_on": 100, "tokens": 20})  # fmt: skip


def memory() -> None:
    """With ten thousand texts to calibrate on."""
    with tempfile.TemporaryDirectory() as name:
        size = made(Path(name), {"train": 10_000, "test": 100}, words=8)
        _, peak = run(Path(name), "--method=static", "--batch_size=32", "--smallest")
    _, imports = measured([sys.executable, "-c", IMPORTS])
    setting: dict[str, object] = {"calibration": 10_000, "tokens": 8, "model_bytes": size,
                                  "peak_bytes": peak, "imports_bytes": imports}  # fmt: skip
    record(
        "peak memory above imports, calibrating", (peak - imports) / size, 2.0, "models", setting
    )


def search() -> None:
    """The sensitivity of every layer, and the verdict, with two thousand texts for each."""
    with tempfile.TemporaryDirectory() as name:
        size = made(Path(name), {"train": 2000, "test": 2000}, words=60)
        seconds, _ = run(Path(name), "--search=always", "--samples=2000")
    setting: dict[str, object] = {"samples": 2000, "tokens": 60, "model_bytes": size}
    record("search and verdict of a BERT-base", seconds, 600.0, "s", setting)


FIGURES = {"time": whole_time, "memory": memory, "search": search}

if __name__ == "__main__":
    for wanted in sys.argv[1:] or FIGURES:
        FIGURES[wanted]()
