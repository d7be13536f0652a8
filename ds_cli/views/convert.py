"""What ``deepseek convert`` shows: files, comparison, notes, time."""

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deepseek.formats.conversion import Conversion
from deepseek.formats.parity import OutputParity, TensorParity
from deepseek.units import format_bytes, format_seconds

__all__ = ["conversion_view"]


def conversion_view(conversion: Conversion) -> RenderableType:
    """Tables for files and comparisons, and a verdict."""
    if conversion.config.dry_run:
        return Group(_headline(conversion), *_plan(conversion), *_notes(conversion))
    return Group(
        _headline(conversion),
        _files(conversion),
        *_comparison(conversion),
        *_notes(conversion),
        _verdict(conversion),
    )


def _headline(conversion: Conversion) -> Text:
    checkpoint, target, parity = conversion.checkpoint, conversion.target, conversion.parity
    facts = [target.format]
    if parity is not None and parity.architecture is not None:
        facts.append(parity.architecture)
    if parity is not None and parity.opset is not None:
        facts.append(f"opset {parity.opset}")
    line = Text.assemble(
        f"{conversion.config.source} ({checkpoint.format}, {len(checkpoint.infos)} tensors, "
        f"{format_bytes(checkpoint.bytes)}) -> ",
        (str(target.dest), "bold"),
        f" ({', '.join(facts)})",
    )
    line.overflow = "fold"
    return line


def _table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    return table


def _files(conversion: Conversion) -> Table:
    table = _table("file", "size", numbers=("size",))
    for file in conversion.files:
        table.add_row(file.name, format_bytes(file.bytes))
    return table


def _plan(conversion: Conversion) -> Iterator[RenderableType]:
    for file in conversion.planned:
        yield Text.assemble("\n", (file.name, "bold"), f"  {format_bytes(file.bytes)}")
        if file.tensors:
            table = _table("tensor", "shape", "dtype", "size", numbers=("size",))
            for name, info in file.tensors.items():
                shape = " x ".join(map(str, info.shape)) or "scalar"
                dtype = str(info.dtype).removeprefix("torch.")
                table.add_row(name, shape, dtype, format_bytes(info.bytes))
            yield table
    total = sum(file.bytes for file in conversion.planned)
    yield Text(f"{format_bytes(total)} in {len(conversion.planned)} files; nothing was written")


def _comparison(conversion: Conversion) -> Iterator[RenderableType]:
    parity = conversion.parity
    if parity is None:
        return
    if parity.tensors is not None:
        yield Text(_tensors(parity.tensors))
    if parity.outputs:
        numbers = ("max abs", "max rel", "argmax", "cosine")
        table = _table("input", "output", *numbers, "", numbers=numbers)
        for one in parity.outputs:
            table.add_row(one.shape, one.output, *_errors(one), _mark(one.passed))
        yield table


def _tensors(tensors: TensorParity) -> str:
    if tensors.max_abs == 0:
        return f"{tensors.compared} tensors compared bit for bit"
    return (
        f"{tensors.compared} tensors compared with the rounded source bit for bit; rounding "
        f"changed values by at most {tensors.max_abs:.2g}, {tensors.max_rel:.2g} of the largest"
    )


def _errors(one: OutputParity) -> tuple[str, ...]:
    return (
        f"{one.max_abs:.1e}",
        f"{one.max_rel:.1e}",
        "" if one.argmax is None else f"{one.argmax:.2%}",
        "" if one.cosine is None else f"{one.cosine:.7f}",
    )


def _mark(passed: bool) -> Text:
    return Text("ok", "green") if passed else Text("missed", "bold red")


def _notes(conversion: Conversion) -> Iterator[Text]:
    for note in conversion.notes:
        yield Text(f"note: {note}", style="dim")


def _verdict(conversion: Conversion) -> Text:
    seconds = sum(conversion.seconds.values())
    stages = ", ".join(f"{name} {format_seconds(s)}" for name, s in conversion.seconds.items())
    if conversion.passed:
        return Text(f"every gate passed in {format_seconds(seconds)} ({stages})")
    misses = conversion.parity.misses if conversion.parity is not None else ()
    kept = "kept because of --allow_mismatch" if conversion.kept else "nothing was kept"
    return Text("\n".join([*(f"missed: {miss}" for miss in misses), kept]), style="bold red")
