"""Tell of a run by reading what it writes, whichever process writes it."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepseek.progress import Progress
from deepseek.training.config import TrainConfig
from deepseek.units import format_bytes, format_seconds

__all__ = ["following"]

_SECONDS = 0.5


@contextmanager
def following(
    path: Path, config: TrainConfig, progress: Progress, say: Callable[[str], None]
) -> Iterator[None]:
    """While inside, a thread reads what is added to the metrics file and tells of it."""
    done = threading.Event()
    teller = _Teller(config, progress, say)
    begin = path.stat().st_size if path.exists() else 0

    def follow() -> None:
        place, last = begin, False
        while not last:
            last = done.wait(_SECONDS)
            place = _tell_from(path, place, teller)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _tell_from(path: Path, place: int, teller: "_Teller") -> int:
    """Tell of the whole lines from ``place`` on; where the next one begins comes back."""
    if not path.exists():
        return place
    with path.open("rb") as file:
        file.seek(place)
        for line in file:
            if not line.endswith(b"\n"):
                break
            place += len(line)
            teller.tell(json.loads(line))
    return place


@dataclass(slots=True)
class _Teller:
    config: TrainConfig
    progress: Progress
    say: Callable[[str], None]
    _recent: deque[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self._recent = deque(maxlen=self.config.log_every)

    def tell(self, row: dict[str, Any]) -> None:
        """Say what a row says."""
        step = row["step"]
        if row["kind"] == "train":
            self._recent.append(row)
            self.progress("steps", step, self.config.steps)
            if step % self.config.log_every == 0:
                self.say(self._line(row))
        elif row["kind"] == "eval":
            self.say(f"step {step}: held-out loss {row['loss']:.4f}, {row['accuracy']:.1%} right")
        elif row["kind"] == "note":
            self.say(f"step {step}: {row['text']}")

    def _line(self, row: dict[str, Any]) -> str:
        seconds = sum(recent["seconds"] for recent in self._recent)
        speed = sum(recent["units"] for recent in self._recent) / seconds
        to_go = self.config.steps - row["step"]
        left = f"  {format_seconds(to_go * seconds / len(self._recent))} left" if to_go else ""
        return (
            f"step {row['step']}/{self.config.steps}  loss {row['loss']:.4f}  "
            f"rate {row['rate']:.2e}  {speed:,.0f} {row['unit']}/s  "
            f"{format_bytes(row['memory'])}{left}"
        )
