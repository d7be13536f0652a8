"""What the compiler tells of its work, where the environment asks for it.

``DEEPSEEK_LOG=compiler`` writes to stderr how long capturing took and what each pass left;
``DEEPSEEK_DUMP_GRAPHS=directory`` writes the graph after each pass into a file of its own.
"""

from __future__ import annotations

import logging
import os
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepseek.compiler.rewrite import Passed

__all__ = ["listen", "tell", "wants_graphs"]

_log = logging.getLogger("deepseek.compiler")
_handler = logging.StreamHandler(sys.stderr)
_handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
_graphs = count()


def listen() -> None:
    """Write the compiler's messages to stderr if ``DEEPSEEK_LOG`` names it."""
    rooms = os.environ.get("DEEPSEEK_LOG", "").replace(",", " ").split()
    if "compiler" in rooms and _handler not in _log.handlers:
        _log.addHandler(_handler)
        _log.setLevel(logging.INFO)


def wants_graphs() -> bool:
    """Whether the texts of graphs are to be kept."""
    return bool(os.environ.get("DEEPSEEK_DUMP_GRAPHS"))


def tell(model: str, captured: float, compiled: float, passes: Sequence[Passed]) -> None:
    """Report one compilation.

    Args:
        model: Its class.
        captured: Seconds that capturing took.
        compiled: Seconds that all took.
        passes: What they left.
    """
    _log.info("%s: captured in %.2f s, compiled in %.2f s", model, captured, compiled)
    for each in passes:
        _log.info("%s: %5d calls after %s", model, each.nodes, each.name)
    directory = os.environ.get("DEEPSEEK_DUMP_GRAPHS")
    if directory:
        folder = Path(directory) / f"{model}-{os.getpid()}-{next(_graphs)}"
        folder.mkdir(parents=True, exist_ok=True)
        for place, each in enumerate(passes):
            path = folder / f"{place:02d}-{each.name}.txt"
            path.write_text(each.text, encoding="utf-8")
        _log.info("%s: graphs in %s", model, folder)
