"""What a run says of itself, step by step: one JSON object a line.

Only the leader writes. Whoever shows progress reads the file, in whatever process it runs.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

__all__ = ["MetricsFile", "read_metrics"]


@dataclass(slots=True)
class MetricsFile:
    """Appends rows to a file; a path of None writes nothing.

    Attributes:
        path: The file.
        after: Rows of later steps are dropped when it is opened: they will happen again.
    """

    path: Path | None
    after: int
    _file: TextIO | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        if self.path is not None:
            rows = [row for row in read_metrics(self.path) if row["step"] <= self.after]
            self._file = self.path.open("w", encoding="utf-8", buffering=1)
            for row in rows:
                self._put(row)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Add a row: ``train``, ``eval``, ``checkpoint`` or ``note``."""
        self._put({"kind": kind, "step": step, **values})

    def _put(self, row: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; a line that was cut off is left out, a missing file is empty."""
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
