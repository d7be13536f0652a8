import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deepseek.errors import InputError
from deepseek.outputs import staged


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _stage_half(dest: Path, error: BaseException, *, overwrite: bool = False) -> None:
    with staged(dest, overwrite=overwrite) as place:
        place.mkdir()
        (place / "half").write_text("")
        raise error


def _stage_graph_and_data(
    dest: Path, before_renames: Callable[[], None], *, overwrite: bool = False
) -> None:
    with staged(dest, overwrite=overwrite, companions=(".data", ".json")) as place:
        place.write_text("new graph")
        place.with_name(f"{place.name}.data").write_text("new data")
        before_renames()


def test_a_file_appears_at_the_end_and_nothing_else_does(tmp_path: Path) -> None:
    dest = tmp_path / "model.pt"
    with staged(dest) as place:
        place.write_text("weights")
        assert place.name == dest.name
        assert not dest.exists()
    assert dest.read_text() == "weights"
    assert _names(tmp_path) == {"model.pt"}


def test_a_folder_appears_at_the_end_with_usual_permissions(tmp_path: Path) -> None:
    dest = tmp_path / "model"
    with staged(dest) as place:
        place.mkdir()
        (place / "a").write_text("1")
    assert _names(dest) == {"a"}
    assert dest.stat().st_mode & 0o700 == 0o700
    umask = os.umask(0)
    os.umask(umask)
    assert dest.stat().st_mode & 0o777 == 0o777 & ~umask


def test_companions_move_together(tmp_path: Path) -> None:
    dest = tmp_path / "m.onnx"
    with staged(dest, companions=(".data", ".report.json")) as place:
        place.write_text("graph")
        place.with_name("m.onnx.data").write_text("weights")
    assert _names(tmp_path) == {"m.onnx", "m.onnx.data"}


def test_overwriting_removes_companions_that_were_not_written_again(tmp_path: Path) -> None:
    dest = tmp_path / "m.onnx"
    dest.write_text("old")
    (tmp_path / "m.onnx.data").write_text("old")
    with staged(dest, overwrite=True, companions=(".data",)) as place:
        place.write_text("new")
    assert _names(tmp_path) == {"m.onnx"}
    assert dest.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("overwrite", [False, True])
def test_any_exception_leaves_nothing_new(
    tmp_path: Path, error: type[BaseException], overwrite: bool
) -> None:
    dest = tmp_path / "m"
    if overwrite:
        dest.write_text("old")
    with pytest.raises(error):
        _stage_half(dest, error(), overwrite=overwrite)
    assert _names(tmp_path) == ({"m"} if overwrite else set())
    assert not overwrite or dest.read_text() == "old"


@pytest.mark.parametrize("failing", range(5))
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_an_interruption_between_renames_restores_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, error: BaseException
) -> None:
    """Old graph and data and report; the new output has graph and data: five renames."""
    dest = tmp_path / "m.onnx"
    old = {"m.onnx": "old graph", "m.onnx.data": "old data", "m.onnx.json": "old report"}
    for name, text in old.items():
        (tmp_path / name).write_text(text)
    rename, calls = Path.rename, iter(range(100))

    def fail_once(self: Path, target: Path) -> Path:
        if next(calls) == failing:
            raise error
        return rename(self, target)

    with pytest.raises(type(error)):
        _stage_graph_and_data(
            dest, lambda: monkeypatch.setattr(Path, "rename", fail_once), overwrite=True
        )
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == old


def test_a_new_output_is_taken_back_when_a_later_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fail_on_graph(self: Path, target: Path) -> Path:
        if Path(target) == tmp_path / "m.onnx":
            raise OSError(errno.EIO, "broken")
        return rename(self, target)

    with pytest.raises(OSError, match="broken"):
        _stage_graph_and_data(
            tmp_path / "m.onnx", lambda: monkeypatch.setattr(Path, "rename", fail_on_graph)
        )
    assert _names(tmp_path) == set()


def test_an_existing_output_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("old")
    with pytest.raises(InputError, match="exists already") as caught, staged(tmp_path / "m"):
        pytest.fail("the work began")
    assert "--overwrite" in str(caught.value.hint)
    assert (tmp_path / "m").read_text() == "old"


def test_an_existing_companion_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "m.onnx.data").write_text("old")
    with (
        pytest.raises(InputError, match=r"m\.onnx\.data exists already"),
        staged(tmp_path / "m.onnx", companions=(".data",)),
    ):
        pytest.fail("the work began")


def test_a_missing_parent_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none at") as caught, staged(tmp_path / "no/m"):
        pytest.fail("the work began")
    assert caught.value.hint == f"mkdir -p {tmp_path / 'no'}"
    assert _names(tmp_path) == set()


def _folder(path: Path, files: dict[str, str]) -> Path:
    path.mkdir()
    for name, text in files.items():
        (path / name).write_text(text)
    return path


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"report.json": json.dumps({"schema": "deepseek.convert/1"})},
        {"config.json": "{}", "model.safetensors": "", "README.md": ""},
    ],
)
def test_folders_of_models_are_replaced(tmp_path: Path, files: dict[str, str]) -> None:
    dest = _folder(tmp_path / "m", files)
    with staged(dest, overwrite=True) as place:
        place.mkdir()
        (place / "new").write_text("")
    assert _names(dest) == {"new"}
    assert _names(tmp_path) == {"m"}


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.tex": "years of work"},
        {"report.json": "not json"},
        {"report.json": json.dumps({"schema": "another"})},
        {"report.json": "[]"},
        {"config.json": "{}", "notes.txt": ""},
        {"config.json": "{}", "model.safetensors": "", ".git": ""},
    ],
)
def test_other_folders_are_never_replaced(tmp_path: Path, files: dict[str, str]) -> None:
    dest = _folder(tmp_path / "m", files)
    with pytest.raises(InputError, match="not replaced"), staged(dest, overwrite=True):
        pytest.fail("the work began")
    assert _names(dest) == set(files)


def test_the_home_and_the_working_folder_are_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = _folder(tmp_path / "home", {})
    (home / "here").mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "here")
    for dest in (home, home / "here", Path(), Path("..")):
        with pytest.raises(InputError, match="not replaced"), staged(dest, overwrite=True):
            pytest.fail("the work began")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path: Path, code: int) -> None:
    with pytest.raises(InputError, match="cannot write") as caught:
        _stage_half(tmp_path / "m", OSError(code, os.strerror(code)))
    assert os.strerror(code) in caught.value.message
    assert "free" in caught.value.message
    assert _names(tmp_path) == set()


def test_an_interruption_right_after_the_hidden_folder_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = Path.mkdir

    def interrupted(self: Path, mode: int) -> None:
        mkdir(self, mode)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "m"):
        pytest.fail("the work began")
    assert _names(tmp_path) == set()


def test_a_folder_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, mode: int) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match="Permission denied"), staged(tmp_path / "m"):
        pytest.fail("the work began")


def test_other_system_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), staged(tmp_path / "m"):
        raise PermissionError(errno.EACCES, "no")
    assert _names(tmp_path) == set()


def test_a_link_at_the_end_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    precious = _folder(tmp_path / "precious", {"thesis.tex": "years"})
    (tmp_path / "m").symlink_to(precious)
    with staged(tmp_path / "m", overwrite=True) as place:
        place.write_text("new")
    assert (tmp_path / "m").read_text() == "new"
    assert _names(precious) == {"thesis.tex"}
