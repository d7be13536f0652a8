"""Outputs appear whole or not at all: written beside their place, then renamed into it."""

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deepseek.errors import InputError
from deepseek.units import format_bytes

__all__ = ["refuse_existing", "staged"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.onnx", "*.gguf")


@contextmanager
def staged(
    dest: Path, *, overwrite: bool = False, companions: tuple[str, ...] = ()
) -> Iterator[Path]:
    """Write an output, a file or a folder, so that it is seen complete or never.

    The path handed out lies in a hidden folder beside ``dest`` and bears its name. When the block
    ends well, everything there is flushed to the disk and renamed into place; when it ends in any
    exception, Ctrl-C included, nothing of it is left and what stood at ``dest`` still stands.

    Args:
        dest: Where the output goes. The folder above it must exist.
        overwrite: Replace an output that is there already.
        companions: Endings, each with its dot, of further files that the caller may write beside
            the path, such as ``model.onnx.data`` beside ``model.onnx``. They move together, and
            with ``overwrite`` old ones that were not written again are removed.

    Yields:
        The path to write to; nothing is there yet.

    Raises:
        InputError: ``dest`` is taken and ``overwrite`` is false, or it is a folder that no tool of
            ours wrote; the folder above is missing or read-only; the disk is full.
    """
    dest = Path(os.path.abspath(dest))  # noqa: PTH100 - resolve() would follow a link at the end
    refuse_existing(dest, overwrite=overwrite, companions=companions)
    work = dest.parent / f".deepseek-{secrets.token_hex(4)}.part"
    try:
        _make_folder(work)
        place = work / dest.name
        yield place
        names = [dest.name + ending for ending in companions] + [dest.name]
        assert place.exists(), f"nothing was written to {place}"
        assert {path.name for path in work.iterdir()} <= set(names), "a file of an unknown name"
        _flush(work)
        _publish([_move(work, dest.parent, name) for name in names])
        _flush_entry(dest.parent)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _full(dest, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def refuse_existing(
    dest: Path, *, overwrite: bool = False, companions: tuple[str, ...] = ()
) -> None:
    """Say before any work is done that an output cannot be written to ``dest``.

    Raises:
        InputError: As ``staged`` does, except for a full disk.
    """
    if not dest.parent.is_dir():
        raise InputError(
            f"expected a folder to write {dest.name} into, found none at {dest.parent}",
            hint=f"mkdir -p {dest.parent}",
        )
    for path in (dest, *(dest.with_name(dest.name + ending) for ending in companions)):
        if os.path.lexists(path) and not overwrite:
            raise InputError(
                f"expected a new name to write to, {path} exists already",
                hint="give --overwrite to replace it",
            )
        if path.is_dir() and not path.is_symlink() and not _is_output(path):
            raise InputError(
                f"{path} is a folder that no command of ours wrote; it is not replaced",
                hint="name another output, or remove the folder yourself",
            )


def _is_output(folder: Path) -> bool:
    """Whether a folder may be replaced: empty, with a report of ours, or a model folder.

    The home, the working folder and those above it, and git checkouts never are.
    """
    here = folder.resolve()
    if here in (Path.home(), Path.cwd(), *Path.cwd().parents) or (here / ".git").exists():
        return False
    if not any(here.iterdir()):
        return True
    if (here / "config.json").is_file() and any(any(here.glob(kind)) for kind in _WEIGHTS):
        return True
    try:
        report = json.loads((here / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and str(report.get("schema", "")).startswith("deepseek.")


def _make_folder(work: Path) -> None:
    try:
        work.mkdir(mode=0o700)
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise InputError(f"cannot write into {work.parent}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class _Move:
    """A new file or folder, its place, and where what stood there waits in case of trouble."""

    new: Path
    place: Path
    old: Path
    written: bool

    def do(self) -> None:
        if os.path.lexists(self.place):
            self.place.rename(self.old)
        if self.written:
            self.new.rename(self.place)

    def undo(self) -> None:
        # The disk is asked what was done, so that an interruption between two steps is undone too.
        if self.written and not os.path.lexists(self.new):
            self.place.rename(self.new)
        if os.path.lexists(self.old):
            self.old.rename(self.place)


def _move(work: Path, parent: Path, name: str) -> _Move:
    new = work / name
    return _Move(new, parent / name, work / f"old-{name}", written=os.path.lexists(new))


def _publish(moves: list[_Move]) -> None:
    try:
        for move in moves:
            move.do()
    except BaseException:
        for move in reversed(moves):
            move.undo()
        raise


def _flush(top: Path) -> None:
    for folder, _, names in os.walk(top, topdown=False):
        for name in names:
            _flush_entry(Path(folder) / name)
        _flush_entry(Path(folder))


def _flush_entry(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # a link into nowhere
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _full(dest: Path, error: OSError) -> InputError:
    free = format_bytes(shutil.disk_usage(dest.parent).free)
    return InputError(
        f"cannot write {dest}: {error.strerror} ({free} free); nothing was left behind",
        hint="free some space, or name an output on another disk",
    )
