"""Four models trained on real data, in INT8 by this toolkit and by the tools people use.

For each of the models of ``train_classifier.py`` (MiniLM, movie reviews) and ``train_models.py``
(BERT-base and Chinese reviews, GPT-2 and Shakespeare, a ViT and Fashion-MNIST) it runs

    deepseek quantize --method dynamic_range --embeddings --search never --smallest

and holds the folder, compiled by ``deepseek.compile``, against ONNX Runtime's dynamic INT8 with
weights per channel, torch's dynamic INT8 per channel and, where they are installed, OpenVINO after
NNCF's post-training quantization: accuracy and agreement on held-out records, bytes, and latency at
one record and at eight, the sides taking turns. Prints one JSON object for each model, side and
shape; a ``ratio`` above 1 means that ours is faster. With ``--markdown`` these go to stderr, and a
table is printed.

    python benchmarks/quantization/table.py [minilm] [bert] [gpt2] [vit] [--markdown]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import train_classifier
import train_models
from others import (
    Answer,
    Inputs,
    in_onnx_runtime,
    in_openvino,
    in_torch,
    openvino_is_there,
    stored_bytes,
    versions,
)
from rivals import seconds

import deepseek
from deepseek.formats.model import LoadedModel, load_model
from deepseek.progress import silent
from deepseek.quantization.batches import Batch, Batches
from deepseek.quantization.config import QuantizeFilesConfig
from deepseek.quantization.evaluate import fitting_metric
from deepseek.quantization.inputs.open import open_data
from deepseek.quantization.metrics import Metric, Scores
from deepseek.quantization.onnx.source import export_checked

PROGRAM = "from ds_cli.main import quantize; quantize()"
LINE = ("--method=dynamic_range", "--search=never", "--smallest", "--json", "--allow_drop")
COUNTS = (1, 8)  # records of a batch that is timed
CALIBRATION = 320  # records that NNCF sees
BARS = {"torch": 1.3, "ONNX Runtime": 1.3}  # of latency; 1 for others


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A trained model and how it is quantized.

    Attributes:
        title: For people.
        place: Finds its folder; trains it on first use.
        model: Below that folder.
        options: Of the line.
        timed: Tokens of a record that is timed; None where records have one size.
        samples: Records to measure on at most.
        batch: Records that are measured at once: of one that tells 50,257 tokens, 26 MB at 128.
    """

    title: str
    place: Callable[[], Path]
    model: str = "model"
    options: Sequence[str] = ()
    timed: int | None = None
    samples: int = 2500
    batch: int = 16


CASES = {
    "minilm": Case(title="MiniLM, movie reviews", place=train_classifier.prepared,
                   model="bert.ckpt", options=("--embeddings",), timed=128),
    "bert": Case(title="BERT-base, Chinese reviews", place=lambda: train_models.prepared("bert"),
                 options=("--embeddings",), timed=64, samples=1000),
    "gpt2": Case(title="GPT-2, Shakespeare", place=lambda: train_models.prepared("gpt2"),
                 options=("--embeddings",), timed=128, samples=500, batch=4),
    "vit": Case(title="ViT, Fashion-MNIST", place=lambda: train_models.prepared("vit")),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Side:
    """A model in some form: how it answers, and how many bytes it is stored in."""

    answer: Answer
    bytes: int


def quantized(case: Case, home: Path, output: Path) -> dict[str, Any]:
    """The report of the line."""
    command = [sys.executable, "-c", PROGRAM, f"--model={home / case.model}",
               f"--calib_data={home / 'dataset'}", f"--output={output}",
               f"--samples={case.samples}", f"--batch_size={case.batch}",
               *LINE, *case.options]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"deepseek quantize ended with {done.returncode}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def sides(
    loaded: LoadedModel, output: Path, calibration: Sequence[Batch], sizes: Mapping[str, int]
) -> dict[str, Side]:
    """The original first, then ours, then the others."""
    folder = output.parent
    program = folder / "model.onnx"
    compiled = deepseek.compile(deepseek.load(output))
    theirs = in_torch(loaded.model)
    export_checked(loaded.model, loaded.architecture, program, silent)
    session = in_onnx_runtime(loaded, program, folder)
    result = {
        "fp32": Side(lambda inputs: loaded.model(**inputs).logits, sizes["before"]),
        "ours": Side(lambda inputs: compiled(**inputs).logits, sizes["after"]),
        "torch": Side(lambda inputs: theirs(**inputs).logits, stored_bytes(theirs)),
        "ONNX Runtime": Side(lambda inputs: session(**inputs).logits, session.path.stat().st_size),
    }
    if openvino_is_there():
        batches = (batch.inputs for batch in calibration)
        try:
            answer = in_openvino(program, batches, len(calibration), folder / "openvino.xml")
            for batch in calibration:
                answer(batch.inputs)
        except RuntimeError as error:
            said = str(error).strip().splitlines()[-1]
            print(f"left out: OpenVINO cannot run {loaded.architecture}: {said}", file=sys.stderr)
        else:
            size = sum(path.stat().st_size for path in folder.glob("openvino.*"))
            result["OpenVINO, NNCF"] = Side(answer, size)
    return result


@torch.inference_mode()
def measured(metric: Metric, named: Mapping[str, Side], batches: Batches) -> dict[str, Scores]:
    """Of every side, held against the first."""
    parts: dict[str, list[Scores]] = {name: [] for name in named}
    first = next(iter(named))
    for batch in batches:
        said = {n: metric.predict(side.answer(batch.inputs), batch) for n, side in named.items()}
        for name, part in parts.items():
            part.append(metric.score(said[first], said[name], batch))
    return {name: Scores.joined(part) for name, part in parts.items()}


def timed(batches: Batches, tokens: int | None) -> Iterator[tuple[str, Inputs]]:
    """Batches of one and of eight times the longest record."""
    *_, last = batches
    record = {name: value[-1:] for name, value in last.inputs.items()}
    if tokens is not None:
        record = {
            name: value.repeat(1, -(-tokens // value.shape[1]))[:, :tokens]
            for name, value in record.items()
        }
    for count in COUNTS:
        shape = f"{count} x {tokens}" if tokens else str(count)
        yield shape, {name: torch.cat([value] * count) for name, value in record.items()}


def results(name: str) -> Iterator[dict[str, Any]]:
    """What was measured of a model: an object for each side and shape."""
    case = CASES[name]
    home = case.place()
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "out"
        report = quantized(case, home, output)
        loaded = load_model(home / case.model)
        config = QuantizeFilesConfig(
            model=home / case.model, calib_data=home / "dataset", output=output,
            samples=case.samples, batch_size=case.batch,
        )  # fmt: skip
        data = open_data(config, loaded)
        calibration = list(islice(data.calibration, CALIBRATION // case.batch))
        named = sides(loaded, output, calibration, report["size_bytes"])
        metric = fitting_metric(loaded.model, next(iter(data.held_out)))
        scores = measured(metric, named, data.held_out)
        answers = {side: form.answer for side, form in named.items()}
        for shape, inputs in timed(data.held_out, case.timed):
            times = seconds(answers, inputs)
            for side, score in scores.items():
                setting = {
                    "model": case.title, "shape": shape, "n": len(score.before),
                    "metric": metric.name, "level": metric.level(score.after, score.truth),
                    "agreement": float(score.agreement.mean()),
                    "size": named[side].bytes / named["fp32"].bytes,
                }  # fmt: skip
                if side == "ours":
                    setting["line"] = report["quality"]
                yield _record(side, setting, times["ours"], times[side])


def _record(side: str, setting: Mapping[str, object], ours: float, theirs: float) -> dict[str, Any]:
    ratio, bar = theirs / ours, BARS.get(side, 1.0)
    return {
        "figure": "INT8 model", "setting": setting, "ours": round(1000 * ours, 3),
        "theirs": round(1000 * theirs, 3), "unit": "ms", "peer": side, "ratio": round(ratio, 3),
        "bar": bar, "met": ratio >= bar, "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "cpu": torch.cpu.get_capabilities().get("cpu_name"), "versions": versions(),
    }  # fmt: skip


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of a table, one for each side of a model."""
    shapes = list(dict.fromkeys(row["setting"]["shape"] for row in rows))
    first = rows[0]["setting"]
    heads = (
        "",
        "size",
        first["metric"].replace("_", " "),
        "as fp32",
        *(f"{s}, ms" for s in shapes),
    )
    yield f"{first['model']}, {first['n']} records:"
    yield ""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for side in dict.fromkeys(row["peer"] for row in rows):
        of_side = [row for row in rows if row["peer"] == side]
        said = of_side[0]["setting"]
        cells = (side, f"{said['size']:.2f}", f"{said['level']:.2%}", f"{said['agreement']:.2%}",
                 *(f"{row['theirs']:.2f}" for row in of_side))  # fmt: skip
        yield "| " + " | ".join(cells) + " |"
    yield ""


def main() -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=list(CASES))
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    lines = sys.stderr if arguments.markdown else sys.stdout
    for wanted in arguments.models:
        rows = []
        for row in results(wanted):
            rows.append(row)
            print(json.dumps(row), file=lines, flush=True)
        if arguments.markdown:
            print("\n".join(as_markdown(rows)), flush=True)


if __name__ == "__main__":
    main()
