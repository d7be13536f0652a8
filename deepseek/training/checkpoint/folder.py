"""The folder of a run's checkpoints: which is the latest, which are complete, which may go.

checkpoints/
step-00000040/          complete: it got its name when everything in it was on the disk
*.safetensors         of each process, its shards of weights, optimizer and average
state.json            the rest, and the sizes of the other files
step-00000080.part/     being written, or left by a run that was killed
latest                  the name of the last complete one
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.errors import InputError

__all__ = ["CheckpointFolder", "read_state"]

_SCHEMA = "deepseek.checkpoint/1"


@dataclass(frozen=True, slots=True)
class CheckpointFolder:
    """The checkpoints below ``root``."""

    root: Path

    def staging(self, step: int) -> Path:
        """Where the checkpoint of a step is written until it is complete; empty."""
        place = self.root / f"{_name(step)}.part"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        return place

    def publish(self, step: int, state: dict[str, Any]) -> Path:
        """Give what was written for ``step`` its name, and make it the latest.

        Args:
            step: The step.
            state: What is not a tensor, in plain JSON values.
        """
        part, place = self.root / f"{_name(step)}.part", self.at(step)
        sizes = {file.name: file.stat().st_size for file in sorted(part.iterdir())}
        document = {"schema": _SCHEMA, **state, "files": sizes}
        _write(part / "state.json", json.dumps(document, indent=2) + "\n")
        if _whole(place):  # a resumed run came to the same step: it is the same state
            shutil.rmtree(part)
        else:
            shutil.rmtree(place, ignore_errors=True)
            part.rename(place)
        _flush_folder(self.root)
        _write(self.root / "latest.part", place.name + "\n")
        (self.root / "latest.part").rename(self.root / "latest")
        _flush_folder(self.root)
        return place

    def latest(self) -> Path | None:
        """The last complete checkpoint, or None where there is none.

        The pointer is only a shortcut: where it is missing or names something incomplete, the
        newest complete checkpoint is taken.
        """
        try:
            named = [self.root / (self.root / "latest").read_text(encoding="utf-8").strip()]
        except OSError:
            named = []
        return next((place for place in [*named, *reversed(self._all())] if _whole(place)), None)

    def at(self, step: int) -> Path:
        """The place of the checkpoint of a step."""
        return self.root / _name(step)

    def prune(self, keep: int, spare: int | None = None) -> None:
        """Remove all but the newest ``keep``, and what killed runs left.

        Args:
            keep: How many stay.
            spare: A step whose checkpoint stays as well: the best so far.
        """
        spared = {self.latest(), None if spare is None else self.at(spare)}
        for place in self._all()[:-keep]:
            if place not in spared:
                shutil.rmtree(place, ignore_errors=True)
        for part in self.root.glob("step-*.part"):
            shutil.rmtree(part, ignore_errors=True)

    def _all(self) -> list[Path]:
        return sorted(p for p in self.root.glob("step-*") if not p.name.endswith(".part"))


def read_state(place: Path) -> dict[str, Any]:
    """What is not a tensor in a checkpoint.

    Raises:
        InputError: It is not a checkpoint of a version that is read.
    """
    try:
        state = json.loads((place / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{place}: expected a checkpoint, {error}") from error
    if not isinstance(state, dict) or state.get("schema") != _SCHEMA:
        raise InputError(f"{place}: expected a checkpoint of {_SCHEMA}")
    return state


def _whole(place: Path) -> bool:
    try:
        sizes = read_state(place)["files"]
        return all((place / name).stat().st_size == size for name, size in sizes.items())
    except (InputError, OSError, KeyError, AttributeError):
        return False


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
