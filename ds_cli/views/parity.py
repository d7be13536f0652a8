"""How outputs that were compared with those of torch look, and what all such views are made of."""

from collections.abc import Callable, Collection, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from deepseek.formats.parity import OutputParity

__all__ = ["folded", "parity_table", "plain_table"]


def parity_table(outputs: Sequence[OutputParity]) -> Table:
    """A row for each output at each of the sizes it was tried at."""
    numbers = [name for name in _MEASURES if any(_MEASURES[name](one) for one in outputs)]
    table = plain_table("input", "output", *numbers, "", numbers=numbers)
    for one in outputs:
        measured = (_MEASURES[name](one) for name in numbers)
        table.add_row(one.shape, one.output, *measured, _mark(one))
    return table


_MEASURES: dict[str, Callable[[OutputParity], str]] = {
    "max abs": lambda one: f"{one.max_abs:.1e}",
    "max rel": lambda one: f"{one.max_rel:.1e}",
    "argmax": lambda one: "" if one.argmax is None else f"{one.argmax:.2%}",
    "cosine": lambda one: "" if one.cosine is None else f"{one.cosine:.7f}",
}


def _mark(one: OutputParity) -> Text:
    return Text("ok", "green") if one.passed else Text("missed", "bold red")


def plain_table(*columns: str, numbers: Collection[str]) -> Table:
    """A table without frames; the columns of ``numbers`` are set to the right."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    return table


def folded(*parts: str | tuple[str, str]) -> Text:
    """Text whose long words, paths above all, break at the edge instead of being cut."""
    text = Text.assemble(*parts)
    text.overflow = "fold"
    return text
