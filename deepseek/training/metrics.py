"""What a run says of itself, step by step: one JSON object a line.

Only the leader writes. Whoever shows progress reads the file, in whatever process it runs.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from deepseek.training.boards import Board, open_board

__all__ = ["Metrics", "read_metrics", "trim_metrics", "writing_metrics"]


@dataclass(slots=True)
class Metrics:
    """Takes rows; without a file it forgets them.

    Attributes:
        file: Where the rows go.
        board: Who shows them as well.
    """

    file: TextIO | None
    board: Board | None = None

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Add a row: ``train``, ``eval``, ``checkpoint`` or ``note``."""
        if self.file is not None:
            self.file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        if self.board is not None:
            self.board.add(kind, step, values)


@contextmanager
def writing_metrics(path: Path | None, board: Path | None = None) -> Iterator[Metrics]:
    """Rows are added to files; None is for processes that do not speak.

    Args:
        path: The file of JSON lines.
        board: The folder for TensorBoard.
    """
    if path is None:
        yield Metrics(None)
        return
    taken = sum(row["kind"] == "train" for row in read_metrics(path))
    with (
        path.open("a", encoding="utf-8", buffering=1) as file,
        open_board(board, taken + 1) as shown,
    ):
        yield Metrics(file, shown)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; a line that was cut off is left out, a missing file is empty."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [row for line in lines if (row := _row(line)) is not None]


def trim_metrics(path: Path, after: int) -> None:
    """Drop the rows of steps beyond ``after``, which will be taken again."""
    rows = [row for row in read_metrics(path) if row["step"] <= after]
    part = path.with_name(f".{path.name}.part")
    part.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    part.rename(path)


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "step" in row else None
