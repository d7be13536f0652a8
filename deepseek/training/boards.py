"""Metrics for TensorBoard, beside the JSON lines."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from deepseek.errors import InputError

__all__ = ["Board", "check_tensorboard", "open_board"]


class Board(Protocol):
    """Takes what a step measured."""

    def add(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Show the numbers among the values as ``kind/name``."""


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def add(self, kind: str, step: int, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self._writer.add_scalar(f"{kind}/{name}", value, step)


def check_tensorboard() -> None:
    """Refuse where the package is missing.

    Raises:
        InputError: It is.
    """
    if find_spec("tensorboard") is None:
        raise InputError(
            "expected the package tensorboard for --tensorboard, found none",
            hint="pip install 'deepseek-toolkit[tensorboard]'",
        )


@contextmanager
def open_board(folder: Path | None, begin: int) -> Iterator[Board | None]:
    """Files for TensorBoard in ``folder``; none where that is None.

    Args:
        folder: Where to; what an earlier run wrote there stays.
        begin: The step that comes next: what was written of later ones is dropped from view.
    """
    if folder is None:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder), purge_step=begin)
    try:
        yield _TensorBoard(writer)
    finally:
        writer.close()
