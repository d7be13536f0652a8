"""Files are taken by their names: for training, held out, or either."""

import pytest

from deepseek.data.files import find_files
from deepseek.errors import InputError


def folder(tmp_path, *names):
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path


def names(paths, base):
    return [path.relative_to(base).as_posix() for path in paths]


@pytest.mark.parametrize(
    ("files", "calibration", "held_out"),
    [
        (["train.csv", "test.csv"], ["train.csv"], ["test.csv"]),
        (["train.csv", "dev.tsv"], ["train.csv"], ["dev.tsv"]),
        (["train.jsonl", "test.jsonl", "validation.jsonl"], ["train.jsonl"], ["test.jsonl"]),
        (["validation.csv", "test.csv"], ["validation.csv"], ["test.csv"]),
        (["reviews.csv", "test.csv"], ["reviews.csv"], ["test.csv"]),
        (
            ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet",
             "data/validation-00000-of-00001.parquet"],
            ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
            ["data/validation-00000-of-00001.parquet"],
        ),
        (["train/a.txt", "test/a.txt"], ["train/a.txt"], ["test/a.txt"]),
    ],
)  # fmt: skip
def test_by_name(tmp_path, files, calibration, held_out):
    found = find_files(folder(tmp_path, *files))
    assert names(found.calibration, tmp_path) == calibration
    assert names(found.held_out, tmp_path) == held_out
    assert not found.either


@pytest.mark.parametrize(
    "files", [["a.csv"], ["a.csv", "b.txt"], ["test.csv"], ["train.csv"], ["latest.csv"]]
)
def test_either(tmp_path, files):
    found = find_files(folder(tmp_path, *files))
    assert names(found.either, tmp_path) == files
    assert not found.calibration
    assert not found.held_out


def test_a_single_file_is_split_whatever_its_name(tmp_path):
    path = folder(tmp_path, "train.csv") / "train.csv"
    assert find_files(path).either == (path,)


def test_what_is_no_data_is_passed_over(tmp_path):
    source = folder(tmp_path, "README.txt", ".cache/a.txt", "config.json", "LICENSE.txt", "a.TXT")
    assert names(find_files(source).either, tmp_path) == ["a.TXT"]


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="found nothing at"):
        find_files(tmp_path / "missing")
    with pytest.raises(InputError, match=r"expected a file that ends in .*, found none"):
        find_files(tmp_path)
    with pytest.raises(InputError, match="expected a file that ends in"):
        find_files(folder(tmp_path, "a.json") / "a.json")
