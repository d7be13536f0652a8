"""From a source to a data set: what is in it, and that interruptions do not show."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepseek.data.config import PackConfig
from deepseek.data.packed.dataset import PackedDataset
from deepseek.data.packed.ragged import Ragged
from deepseek.data.packed.verify import verify_shard
from deepseek.data.packing.pack import Packing, pack
from deepseek.errors import InputError

Rows = list[dict[str, Any]]


@pytest.fixture
def rows() -> Rows:
    texts = [f"row {number} " + "x" * (number % 13) for number in range(1500)]
    return [{"text": text, "label": len(text) % 3} for text in texts]


@pytest.fixture
def source(tmp_path: Path, rows: Rows, make_jsonl: Callable[..., Path]) -> Path:
    rows.insert(700, {"text": "  ", "label": 0})
    return make_jsonl(tmp_path / "rows.jsonl", rows)


def packed(source: Path | str, output: Path, **options: Any) -> tuple[Packing, PackedDataset]:
    config = PackConfig(source=(str(source),), output=output, **options)
    return pack(config), PackedDataset(output)


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def text_of(tokens: torch.Tensor) -> str:
    return bytes(tokens.tolist()).decode()


def test_texts_with_labels(tmp_path: Path, source: Path, rows: Rows) -> None:
    packing, dataset = packed(source, tmp_path / "out")
    kept = [row for row in rows if row["text"].strip()]
    assert len(dataset) == packing.index.records == len(kept) == 1500
    assert (packing.rows, packing.empty, packing.left_out) == (1501, 1, 0)
    assert packing.tokens == sum(len(row["text"]) for row in kept)
    for number in (0, 699, 700, 1499):
        assert text_of(dataset[number]["tokens"]) == kept[number]["text"]
        assert dataset[number]["label"] == kept[number]["label"]
    assert dataset.meta["tokenizer"]["vocabulary"] == 257
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["rows"], report["empty"], report["records"]) == (1501, 1, 1500)


def test_names_become_the_places_of_sorted_classes(
    tmp_path: Path, make_jsonl: Callable[..., Path]
) -> None:
    names = ["good", "bad", "fair", "bad"]
    path = make_jsonl(tmp_path / "a.jsonl", [{"text": "x", "label": name} for name in names])
    _, dataset = packed(path, tmp_path / "out")
    assert [int(dataset[number]["label"]) for number in range(4)] == [2, 0, 1, 0]
    assert dataset.meta["classes"] == ["bad", "fair", "good"]
    _, dataset = packed(path, tmp_path / "again", classes=("good", "fair", "bad"))
    assert [int(dataset[number]["label"]) for number in range(4)] == [0, 2, 1, 2]


def test_sequences_hold_the_texts_with_their_ends(tmp_path: Path, rows: Rows, source: Path) -> None:
    packing, dataset = packed(source, tmp_path / "out", pack_length=100)
    batch = dataset[0 : len(dataset)]
    tokens, boundaries = batch["tokens"], batch["boundaries"]
    assert isinstance(tokens, torch.Tensor)
    assert isinstance(boundaries, Ragged)
    stream = [
        token for row in rows if row["text"].strip() for token in [*row["text"].encode(), 256]
    ]
    assert tokens.flatten().tolist() == stream[: len(dataset) * 100]
    assert packing.left_out == len(stream) % 100
    assert packing.tokens == len(dataset) * 100
    # every part but the last of a sequence ends with the end token
    for sequence, places in zip(tokens, boundaries, strict=True):
        ends = (sequence == 256).nonzero().flatten() + 1
        assert set(ends.tolist()) <= set(places.tolist())
        assert places[0] == 0
        assert places[-1] == 100


def test_a_tokenizer_goes_along(tmp_path: Path, word_tokenizer: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat sat\nthe dog ran\n")
    _, dataset = packed(tmp_path / "a.txt", tmp_path / "out", tokenizer=str(word_tokenizer))
    assert [dataset[number]["tokens"].tolist() for number in (0, 1)] == [
        [1, 3, 4, 5, 2], [1, 3, 8, 9, 2],
    ]  # fmt: skip
    assert dataset[0]["tokens"].dtype == torch.uint8
    copy = tmp_path / "out" / "tokenizer" / "tokenizer.json"
    assert copy.read_bytes() == (word_tokenizer / "tokenizer.json").read_bytes()

    _, dataset = packed(
        tmp_path / "a.txt", tmp_path / "joined", tokenizer=str(word_tokenizer), pack_length=4,
        dtype="int64",
    )  # fmt: skip
    assert dataset[0:2]["tokens"].tolist() == [[3, 4, 5, 2], [3, 8, 9, 2]]


def test_images_and_labels_of_arrays(tmp_path: Path, make_idx: Callable[..., Path]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 5, 4), np.uint8)
    make_idx(tmp_path / "images-idx3-ubyte.gz", images)
    make_idx(tmp_path / "labels-idx1-ubyte.gz", (np.arange(300) % 10).astype(np.uint8))
    packing, dataset = packed(tmp_path, tmp_path / "out")
    assert torch.equal(dataset[0:300]["image"], torch.from_numpy(images))
    assert dataset[123]["label"] == 3
    assert packing.tokens is None
    assert "tokenizer" not in dataset.meta


def test_a_datasets_folder(tmp_path: Path, make_arrow: Callable[..., Path]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"input_ids": [[1, 2], [3], []], "label": [1, -1, 0]})
    features = {"label": {"names": ["no", "yes"]}}
    _, dataset = packed(make_arrow(tmp_path / "saved", table, features), tmp_path / "out")
    assert dataset.meta["classes"] == ["no", "yes"]
    batch = dataset[0:3]
    assert [part.tolist() for part in batch["input_ids"]] == [[1, 2], [3], []]
    assert batch["label"].tolist() == [1, -1, 0]


def test_numbers_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,n,label\n0.5,3,1\n1.5,4,0\n")
    _, dataset = packed(tmp_path / "a.csv", tmp_path / "out")
    assert {name: tensor.item() for name, tensor in dataset[1].items()} == {
        "x": 1.5, "n": 4, "label": 0,
    }  # fmt: skip


def test_workers_make_the_same_bytes(tmp_path: Path, source: Path) -> None:
    packed(source, tmp_path / "one", pack_length=64, shard_size=20_000)
    packed(source, tmp_path / "two", pack_length=64, shard_size=20_000, workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


class Interrupted:
    """A listener that interrupts after so many chunks."""

    def __init__(self, after: int, error: BaseException) -> None:
        self._left = after
        self._error = error

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._error


@pytest.mark.parametrize("options", [{"pack_length": 50}, {}], ids=["sequences", "records"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_packing_goes_on(
    tmp_path: Path, source: Path, options: dict[str, Any], error: BaseException
) -> None:
    whole = tmp_path / "whole"
    packed(source, whole, shard_size=6000, **options)
    output = tmp_path / "out"
    config = {"source": (str(source),), "output": output, "shard_size": 6000, **options}
    resumed = 0
    for after in (2, 1, 0):
        with pytest.raises(type(error)):
            pack(PackConfig(resume=resumed > 0, **config), progress=Interrupted(after, error))
        assert names(tmp_path) == [".out.packing", "rows.jsonl", "whole"]
        journal = json.loads((tmp_path / ".out.packing" / "journal.json").read_text())
        assert sum(shard["records"] for shard in journal["shards"]) >= max(resumed, 1)
        resumed = sum(shard["records"] for shard in journal["shards"])
    with pytest.raises(InputError, match=f"an interrupted packing lies in .*: {resumed} records"):
        pack(PackConfig(**config))
    assert pack(PackConfig(resume=True, **config)).resumed == resumed
    assert content(output) == content(whole)
    assert names(tmp_path) == ["out", "rows.jsonl", "whole"]


def test_nothing_stays_of_a_packing_without_a_finished_shard(tmp_path: Path, source: Path) -> None:
    config = PackConfig(source=(str(source),), output=tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        pack(config, progress=Interrupted(2, KeyboardInterrupt()))
    assert names(tmp_path) == ["rows.jsonl"]


def interrupted(source: Path, output: Path) -> PackConfig:
    config = PackConfig(source=(str(source),), output=output, shard_size=6000)
    with pytest.raises(KeyboardInterrupt):
        pack(config, progress=Interrupted(2, KeyboardInterrupt()))
    return config


def again(config: PackConfig, **options: Any) -> PackConfig:
    from dataclasses import replace

    return replace(config, **options)


def test_other_sources_or_settings_are_not_gone_on_with(tmp_path: Path, source: Path) -> None:
    config = interrupted(source, tmp_path / "out")
    for other in ({"shard_size": 4000}, {"max_length": 5}, {"tokenizer": "bytes", "split": "x"}):
        with pytest.raises(InputError, match="began with other sources or settings"):
            pack(again(config, resume=True, **other))
    os.utime(source, (0, 0))
    with pytest.raises(InputError, match="began with other sources or settings"):
        pack(again(config, resume=True))


def test_overwrite_begins_again(tmp_path: Path, source: Path) -> None:
    config = interrupted(source, tmp_path / "out")
    packing = pack(again(config, overwrite=True))
    assert (packing.resumed, packing.index.records) == (0, 1500)


def test_resuming_nothing_is_beginning(tmp_path: Path, source: Path) -> None:
    packing, _ = packed(source, tmp_path / "out", resume=True)
    assert packing.resumed == 0


def test_a_damaged_packing_is_not_gone_on_with(tmp_path: Path, source: Path) -> None:
    config = interrupted(source, tmp_path / "out")
    (tmp_path / ".out.packing" / "00000.packed").write_bytes(b"cut")
    with pytest.raises(InputError, match="of a finished shard, found another size"):
        pack(again(config, resume=True))


PROGRAM = """
import sys, time
from pathlib import Path
from deepseek.data.config import PackConfig
from deepseek.data.packing.pack import pack
slow = lambda *_: time.sleep(0.02)
source, output, workers = sys.argv[1:]
if __name__ == "__main__":
    pack(PackConfig(source=(source,), output=Path(output), shard_size=6000,
                    workers=int(workers)), progress=slow)
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_killed_packing_goes_on(tmp_path: Path, source: Path, workers: int) -> None:
    script = tmp_path / "run.py"
    script.write_text(PROGRAM)
    output, whole = tmp_path / "out", tmp_path / "whole"
    journal = tmp_path / ".out.packing" / "journal.json"
    run = subprocess.Popen([sys.executable, script, source, output, str(workers)])
    while not journal.exists() and run.poll() is None:
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not output.exists()
    config = PackConfig(source=(str(source),), output=output, shard_size=6000, resume=True)
    assert 0 < pack(config).resumed < 1500
    packed(source, whole, shard_size=6000)
    assert content(output) == content(whole)


def test_two_packings_of_one_output_do_not_meet(tmp_path: Path, source: Path) -> None:
    config = PackConfig(source=(str(source),), output=tmp_path / "out", shard_size=6000)

    def meanwhile(stage: str, done: int, total: int | None) -> None:
        with pytest.raises(InputError, match="another process is packing into"):
            pack(again(config, resume=True))

    assert pack(config, progress=meanwhile).index.records == 1500


def test_every_shard_is_sound(tmp_path: Path, source: Path) -> None:
    _, dataset = packed(source, tmp_path / "out", shard_size=6000)
    assert len(dataset.files) > 5
    assert [damage for file in dataset.files for damage in verify_shard(file)] == []


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([{"text": "a"}, {"text": 5}], {}, "a.jsonl:2: expected text in column 'text', found 5"),
        ([{"text": "a", "label": 1}, {"text": "b"}], {}, "a.jsonl:2: expected a label"),
        ([{"text": "a", "label": 1}] * 200 + [{"text": "a", "label": "x"}], {},
         "a.jsonl:201: expected a whole number in column 'label', found 'x'"),
        ([{"text": "a", "label": 0.5}] * 200 + [{"text": "a", "label": "x"}], {},
         "a.jsonl:201: expected a number in column 'label', found 'x'"),
        ([{"text": "a", "label": "x"}], {"classes": ("y", "z")}, "expected one of y, z"),
        ([{"text": "a", "label": 2}], {"classes": ("y", "z")}, "expected one of y, z"),
        ([{"n": 1}, {"n": None}], {}, "a.jsonl:2: expected numbers in column 'n', found none"),
        ([{"n": "1"}] * 200 + [{"n": "x"}], {}, "a.jsonl:201: expected a number in column 'n'"),
        ([{"n": [1]}] * 200 + [{"n": [1.5]}], {}, "a.jsonl:201: expected n: int64[*]"),
        ([{"text": "  "}], {}, "expected at least one record to pack, got none"),
        ([{"text": "short"}], {"pack_length": 100}, "expected at least one record"),
        ([], {}, "expected rows to pack"),
    ],
)  # fmt: skip
def test_bad_rows_leave_nothing(
    tmp_path: Path,
    make_jsonl: Callable[..., Path],
    rows: Rows,
    options: dict[str, Any],
    message: str,
) -> None:
    path = make_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(InputError) as caught:
        packed(path, tmp_path / "out", **options)
    assert message in caught.value.message
    assert names(tmp_path) == ["a.jsonl"]


def test_an_output_that_is_there_is_kept(tmp_path: Path, source: Path) -> None:
    packed("topics", tmp_path / "out", pack_length=64)
    before = content(tmp_path / "out")
    with pytest.raises(InputError, match="exists already"):
        packed(source, tmp_path / "out")
    assert content(tmp_path / "out") == before
    _, dataset = packed(source, tmp_path / "out", overwrite=True)
    assert len(dataset) == 1500


def test_an_output_in_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder to write out into"):
        packed("topics", tmp_path / "nowhere" / "out")


def test_images_of_files(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name, colour, size in (("b/1.png", (255, 0, 10), (8, 6)), ("a/2.png", (0, 9, 0), (6, 8))):
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        image.new("RGB", size, colour).save(tmp_path / "images" / name)
    with pytest.raises(InputError, match="expected an image of") as caught:
        packed(tmp_path / "images", tmp_path / "out")
    assert caught.value.hint == "--image_size makes all images of one size"

    packing, dataset = packed(tmp_path / "images", tmp_path / "out", image_size=4)
    assert str(packing.index.fields[0]) == "image: uint8[3, 4, 4]"
    assert dataset.meta["classes"] == ["a", "b"]
    assert dataset[1]["image"][:, 0, 0].tolist() == [255, 0, 10]
    assert dataset[1]["label"] == 1
    _, gray = packed(tmp_path / "images", tmp_path / "gray", image_size=4, image_mode="gray")
    assert gray[0]["image"].shape == (1, 4, 4)


def test_a_damaged_image(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "a" / "1.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1\.png: expected an image, found"):
        packed(tmp_path / "images", tmp_path / "out", image_size=4)


def test_images_in_a_datasets_folder(tmp_path: Path, make_arrow: Callable[..., Path]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (5, 5), (1, 2, 3)).save(tmp_path / "x.png")
    cell = {"bytes": (tmp_path / "x.png").read_bytes(), "path": None}
    table = pyarrow.table({"image": [cell, cell], "label": [0, 1]})
    _, dataset = packed(make_arrow(tmp_path / "saved", table, {}), tmp_path / "out")
    assert dataset[1]["image"].shape == (3, 5, 5)
    assert dataset[1]["image"][:, 2, 2].tolist() == [1, 2, 3]
