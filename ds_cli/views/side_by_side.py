"""Two reports of ``quantize`` as a person reads them: a table with a column for each."""

from collections.abc import Callable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deepseek.units import format_bytes, format_seconds

__all__ = ["show"]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


_ROWS: dict[str, Callable[[Any], str]] = {
    "architecture": str,
    "model": str,
    "calib_data": str,
    "method": str,
    "verdict": str,
    "metric": str,
    "n": "{:,}".format,
    "before": "{:.4f}".format,
    "after": "{:.4f}".format,
    "drop": _percent,
    "drop_low": _percent,
    "drop_high": _percent,
    "max_drop": _percent,
    "agreement": _percent,
    "size_before": format_bytes,
    "size_after": format_bytes,
    "layers_in_int8": str,
    "record_seconds_before": format_seconds,
    "record_seconds_after": format_seconds,
}


def show(document: dict[str, Any]) -> RenderableType:
    """The table, and below it what to mind."""
    table = Table()
    for heading in ("", *document["reports"]):
        table.add_column(heading, justify="right" if heading else "left", overflow="fold")
    for name, form in _ROWS.items():
        pair = document["figures"][name]
        if pair != [None, None]:
            cells = ("" if value is None else form(value) for value in pair)
            table.add_row(name.replace("_", " "), *cells)
    lines = [
        f"in INT8 only in {report}: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}"
        for report, names in zip(document["reports"], document["only_in_int8"], strict=True)
        if names
    ]
    notes = [Text(note, style="yellow") for note in document["notes"]]
    return Group(table, *map(Text, lines), *notes)
