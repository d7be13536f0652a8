"""Tell of a run by reading what it writes, whichever process writes it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepseek.progress import Progress
from deepseek.training.config import TrainConfig
from deepseek.training.metrics import read_metrics
from deepseek.units import format_bytes, format_seconds

__all__ = ["following"]

_SECONDS = 0.5


@contextmanager
def following(
    path: Path, config: TrainConfig, progress: Progress, say: Callable[[str], None]
) -> Iterator[None]:
    """While inside, a thread reads new rows of the metrics file and tells of them."""
    done = threading.Event()

    def follow() -> None:
        told = 0
        while True:
            last = done.wait(_SECONDS)
            rows = read_metrics(path)
            for row in rows[told:]:
                _tell(row, config, progress, say)
            told = len(rows)
            if last:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _tell(
    row: dict[str, Any], config: TrainConfig, progress: Progress, say: Callable[[str], None]
) -> None:
    step = row["step"]
    if row["kind"] == "train":
        progress("steps", step, config.steps)
        if step % config.log_every == 0:
            rate = row["labels"] / row["seconds"]
            left = format_seconds((config.steps - step) * row["seconds"])
            say(
                f"step {step}/{config.steps}  loss {row['loss']:.4f}  rate {row['rate']:.2e}  "
                f"{rate:,.0f} labels/s  {left} left  {format_bytes(row['memory'])}"
            )
    elif row["kind"] == "eval":
        say(f"step {step}: held-out loss {row['loss']:.4f}, accuracy {row['accuracy']:.1%}")
    elif row["kind"] == "note":
        say(f"step {step}: {row['text']}")
