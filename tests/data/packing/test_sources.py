"""Every kind of source gives its rows, and says what is wrong with it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.data.config import PackConfig
from deepseek.data.packing.item import Source
from deepseek.data.packing.sources.open import open_source
from deepseek.errors import InputError


def opened(*paths: Path | str, **options: Any) -> Source:
    return open_source(PackConfig(source=tuple(map(str, paths)), output=Path("out"), **options))


def values(source: Source) -> list[dict[str, Any]]:
    return [dict(item.values) for item in source.items()]


def refused(*paths: Path | str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        values(opened(*paths, **options))
    return str(caught.value)


def test_topics_are_always_there() -> None:
    source = opened("topics")
    items = list(source.items())
    assert len(items) == source.count
    assert sum(len(item.values["text"]) for item in items) > 300_000
    assert items[0].origin.startswith("topics:")


def test_a_path_wins_over_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("topics").mkdir()
    Path("topics/a.txt").write_text("mine")
    assert values(opened("topics")) == [{"text": "mine"}]


def test_files_one_after_the_other(tmp_path: Path, make_jsonl: Callable[..., Path]) -> None:
    one = make_jsonl(tmp_path / "a.jsonl", [{"text": "x"}, {"text": "y"}])
    other = make_jsonl(tmp_path / "b.jsonl", [{"text": "z"}])
    source = opened(other, one)
    assert [row["text"] for row in values(source)] == ["z", "x", "y"]
    assert [item.origin for item in source.items()][1] == f"{one}:1"
    assert source.files == (other, one)


def test_a_folder_of_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.csv").write_text("text,label\nhello,1\n")
    (tmp_path / "a.csv").write_text("text,label\nhi,0\n")
    (tmp_path / "README.txt").write_text("about")
    (tmp_path / ".hidden.csv").write_text("no")
    assert [row["text"] for row in values(opened(tmp_path))] == ["hi", "hello"]


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ("line", ["one", "two", "three"]),
        ("paragraph", ["one\ntwo\n", "three\n"]),
        ("file", ["one\ntwo\n\n \nthree\n"]),
    ],
)
def test_what_a_text_is_in_a_text_file(tmp_path: Path, documents: str, expected: list[str]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n\n \nthree\n")
    source = opened(path, documents=documents)
    assert [row["text"] for row in values(source)] == expected
    if documents == "paragraph":
        assert [item.origin for item in source.items()] == [f"{path}:1", f"{path}:5"]


def test_splits_of_a_folder(tmp_path: Path) -> None:
    for name in ("train-0.txt", "train-1.txt", "test.txt"):
        (tmp_path / name).write_text(name)
    assert "--split names the one to pack" in refused(tmp_path)
    assert [row["text"] for row in values(opened(tmp_path, split="train"))] == [
        "train-0.txt", "train-1.txt",
    ]  # fmt: skip
    assert values(opened(tmp_path, split="test")) == [{"text": "test.txt"}]
    assert "expected files of the split dev, found test, train" in refused(tmp_path, split="dev")
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "x.txt").write_text("held")
    assert values(opened(tmp_path, split="held")) == [{"text": "held"}]


def test_arrays(tmp_path: Path) -> None:
    numbers = np.arange(12, dtype=">f4").reshape(4, 3)
    np.save(tmp_path / "points.npy", numbers)
    np.save(tmp_path / "label.npy", np.arange(4))
    source = opened(tmp_path)
    assert source.count == 4
    rows = values(source)
    assert rows[2]["points"].tolist() == [6, 7, 8]
    assert rows[2]["points"].dtype == np.dtype("=f4")
    assert rows[3]["label"] == 3


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_of_arrays(tmp_path: Path, save: Callable[..., None]) -> None:
    large = np.random.default_rng(0).normal(size=(3000, 100))  # longer than what is read at once
    save(tmp_path / "a.npz", x=large, y=np.arange(3000) % 2 == 0)
    rows = values(opened(tmp_path / "a.npz"))
    assert np.array_equal([row["x"] for row in rows], large)
    assert [bool(row["y"]) for row in rows[:3]] == [True, False, True]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files(tmp_path: Path, make_idx: Callable[..., Path], ending: str) -> None:
    images = np.arange(5 * 6, dtype=np.uint8).reshape(5, 2, 3)
    for split in ("train", "t10k"):
        make_idx(tmp_path / f"{split}-images-idx3-ubyte{ending}", images)
        make_idx(tmp_path / f"{split}-labels-idx1-ubyte{ending}", np.arange(5, dtype=np.uint8))
    rows = values(opened(tmp_path, split="test"))
    assert rows[4]["image"].tolist() == [[24, 25, 26], [27, 28, 29]]
    assert [row["label"] for row in rows] == [0, 1, 2, 3, 4]
    assert "expected files of one split, found test, train" in refused(tmp_path)


def test_arrays_that_do_not_belong_together(tmp_path: Path, make_idx: Callable[..., Path]) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 2)))
    np.save(tmp_path / "b.npy", np.zeros(4))
    assert "as many records each, found a 3, b 4" in refused(tmp_path)
    one = make_idx(tmp_path / "x-idx1-ubyte", np.zeros(3, np.uint8))
    other = make_idx(tmp_path / "y-idx1-ubyte", np.zeros(3, np.uint8))
    assert "expected arrays of different names, found label, label" in refused(one, other)


def test_damaged_arrays(tmp_path: Path, make_idx: Callable[..., Path]) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((1000, 10)))
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    assert "expected 1000 records as its header states, found fewer" in refused(path)
    path.write_bytes(whole[:20])
    assert "expected an array" in refused(path)
    path.write_bytes(b"nothing of the kind")
    assert "expected an array" in refused(path)
    np.save(path, np.array(["a", None], object))
    assert "expected numbers, found object" in refused(path)
    np.save(path, np.asfortranarray(np.zeros((3, 2))))
    assert "np.ascontiguousarray" in refused(path)
    np.save(path, np.zeros(()))
    assert "expected records, found the shape []" in refused(path)
    np.save(path, np.zeros((0, 4)))
    assert "expected records, found the shape [0, 4]" in refused(path)
    archive = tmp_path / "a.npz"
    archive.write_bytes(b"PK\3\4 no archive")
    assert "expected an array" in refused(archive)
    idx = make_idx(tmp_path / "x-idx3-ubyte.gz", np.zeros((2, 3, 3), np.uint8))
    idx.write_bytes(idx.read_bytes()[:-12])
    assert f"{idx}: expected" in refused(idx)
    idx.write_bytes(b"no gzip")
    assert "expected an array" in refused(idx)
    plain = tmp_path / "x-idx3-ubyte"
    plain.write_bytes(b"\0\0\x20\3")
    assert "expected an idx file, found other content" in refused(plain)
    plain.write_bytes(b"\0\0\x08\3\0\0\0\1")
    assert "expected 3 sizes, found 1" in refused(plain)


def test_a_saved_datasets_folder(tmp_path: Path, make_arrow: Callable[..., Path]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"text": [f"text {n}" for n in range(700)], "label": [0, 1] * 350})
    features = {"text": {"dtype": "string"}, "label": {"names": ["bad", "good"]}}
    source = opened(make_arrow(tmp_path / "saved", table, features))
    rows = values(source)
    assert [row["text"] for row in rows] == [f"text {n}" for n in range(700)]
    assert source.classes == ("bad", "good")
    assert [item.origin.rpartition("/")[2] for item in source.items()][350] == (
        "data-00001-of-00002.arrow:1"
    )


def test_a_datasets_folder_of_splits(tmp_path: Path, make_arrow: Callable[..., Path]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    for split in ("train", "test"):
        make_arrow(tmp_path / split, pyarrow.table({"text": [split]}), {}, files=1)
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    assert values(opened(tmp_path, split="test")) == [{"text": "test"}]
    assert "expected one of the splits train, test, got none" in refused(tmp_path)
    assert "got dev" in refused(tmp_path, split="dev")


def test_damaged_datasets_folders(tmp_path: Path, make_arrow: Callable[..., Path]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    folder = make_arrow(tmp_path / "saved", pyarrow.table({"text": ["a"] * 1000}), {}, files=1)
    file = folder / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:600])
    assert "expected an Arrow stream" in refused(folder)
    file.unlink()
    assert "expected an Arrow stream" in refused(folder)
    for state in ('{"_data_files": [{"filename": "../x.arrow"}]}', '{"_data_files": ["x"]}'):
        (folder / "state.json").write_text(state)
        assert "expected names of files beside it" in refused(folder)
    (folder / "state.json").write_text("{}")
    assert "expected data files, found none" in refused(folder)
    (folder / "state.json").write_text("{")
    assert "expected JSON" in refused(folder)


def test_folders_of_images(tmp_path: Path) -> None:
    for name in ("dog/2.png", "dog/1.JPG", "cat/1.png", "cat/notes.txt", ".cache/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    source = opened(tmp_path)
    assert source.classes == ("cat", "dog")
    assert [(row["image"].name, row["label"]) for row in values(source)] == [
        ("1.png", "cat"), ("1.JPG", "dog"), ("2.png", "dog"),
    ]  # fmt: skip


def test_nothing_to_pack(tmp_path: Path) -> None:
    assert "found nothing at nowhere" in refused("nowhere")
    assert "expected a file that ends in" in refused(tmp_path)
    (tmp_path / "a.pdf").touch()
    assert "of one kind that ends in .csv, .arrow, .jsonl" in refused(tmp_path / "a.pdf")
    for name in ("a.csv", "a.txt"):
        (tmp_path / name).write_text("text\nx\n")
    assert "got .csv, .txt" in refused(tmp_path / "a.csv", tmp_path / "a.txt")
    assert "expected one folder, or files" in refused(tmp_path / "a.csv", tmp_path)
