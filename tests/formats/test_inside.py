from pathlib import Path

import pytest

from deepseek.errors import InputError
from deepseek.formats.inside import file_inside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "parts").mkdir(parents=True)
    (folder / "a.bin").write_text("a")
    (folder / "parts" / "b.bin").write_text("b")
    (tmp_path / "secret").write_text("s")
    return folder


@pytest.mark.parametrize("name", ["a.bin", "parts/b.bin", "./a.bin"])
def test_files_of_the_folder(folder: Path, name: str) -> None:
    assert file_inside(folder, name, named_by=folder / "i").read_text() in "ab"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../secret", "lies outside"),
        ("parts/../../secret", "lies outside"),
        ("/etc/passwd", "lies outside"),
        ("..\\secret", "lies outside"),
        ("c.bin", "does not exist"),
        ("parts", "does not exist"),
        ("", "expected the name of a file"),
        ("a\0.bin", "expected the name of a file"),
        (3, "expected the name of a file"),
        (None, "expected the name of a file"),
    ],
)
def test_names_that_lead_elsewhere(folder: Path, name: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        file_inside(folder, name, named_by=folder / "index.json")


def test_links_that_leave_the_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "link.bin").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    for name in ("link.bin", "up/secret"):
        with pytest.raises(InputError, match="a link that leads outside"):
            file_inside(folder, name, named_by=folder / "index.json")
    with pytest.raises(InputError, match="does not exist"):
        file_inside(folder, "loop", named_by=folder / "index.json")
    (folder / "inner.bin").symlink_to(folder / "a.bin")
    assert file_inside(folder, "inner.bin", named_by=folder / "i").read_text() == "a"


def test_links_into_the_store_of_the_hub_cache(tmp_path: Path) -> None:
    store = tmp_path / "models--org--name"
    snapshot = store / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (store / "blobs").mkdir()
    (store / "blobs" / "1234").write_text("weights")
    (tmp_path / "other").write_text("not of this model")
    (snapshot / "model.bin").symlink_to("../../blobs/1234")
    (snapshot / "other.bin").symlink_to("../../../other")
    assert file_inside(snapshot, "model.bin", named_by=snapshot / "i").read_text() == "weights"
    with pytest.raises(InputError, match="a link that leads outside"):
        file_inside(snapshot, "other.bin", named_by=snapshot / "i")
