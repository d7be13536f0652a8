"""What ``deepseek convert`` shows: files, comparison, notes, time."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.text import Text

from deepseek.formats.conversion import Conversion
from deepseek.formats.parity import TensorParity
from deepseek.units import format_bytes, format_seconds
from ds_cli.views.parity import folded, parity_table, plain_table

__all__ = ["conversion_view"]

_WIDEST = 120  # longer lines are hard to read, however wide the terminal is


def conversion_view(conversion: Conversion) -> RenderableType:
    """Tables for files and comparisons, and a verdict."""
    body = (
        (_plan(conversion),)
        if conversion.config.dry_run
        else (_files(conversion), _comparison(conversion), _verdict(conversion))
    )
    parts = (part for section in (_headline(conversion), *body) for part in section)
    return Constrain(Group(*parts), _WIDEST)


def _headline(conversion: Conversion) -> Iterator[RenderableType]:
    checkpoint, target, parity = conversion.checkpoint, conversion.target, conversion.parity
    facts = [target.format]
    if parity is not None and parity.architecture is not None:
        facts.append(parity.architecture)
    if parity is not None and parity.opset is not None:
        facts.append(f"opset {parity.opset}")
    size = format_bytes(checkpoint.bytes)
    count = len(checkpoint.infos)
    read = f"{checkpoint.format}, {count} tensor{'' if count == 1 else 's'}, {size}"
    yield folded(f"{conversion.config.source}  ({read})")
    yield folded("-> ", (str(target.dest), "bold"), f"  ({', '.join(facts)})")
    for note in conversion.notes:
        yield folded((f"note: {note}", "dim"))
    yield Text()


def _files(conversion: Conversion) -> Iterator[RenderableType]:
    table = plain_table("file", "size", numbers=("size",))
    for file in conversion.files:
        table.add_row(file.name, format_bytes(file.bytes))
    yield table
    yield Text()


def _plan(conversion: Conversion) -> Iterator[RenderableType]:
    for file in conversion.planned:
        yield folded((file.name, "bold"), f"  {format_bytes(file.bytes)}")
        if file.tensors:
            table = plain_table("tensor", "shape", "dtype", "size", numbers=("size",))
            for name, info in file.tensors.items():
                shape = " x ".join(map(str, info.shape)) or "scalar"
                dtype = str(info.dtype).removeprefix("torch.")
                table.add_row(name, shape, dtype, format_bytes(info.bytes))
            yield table
            yield Text()
    total = format_bytes(sum(file.bytes for file in conversion.planned))
    count = len(conversion.planned)
    yield Text(f"{total} in {count} file{'' if count == 1 else 's'}; nothing was written")


def _comparison(conversion: Conversion) -> Iterator[RenderableType]:
    parity = conversion.parity
    assert parity is not None
    if parity.tensors is not None:
        yield Text(_tensors(parity.tensors))
    if parity.outputs:
        yield parity_table(parity.outputs)
        yield Text()


def _tensors(tensors: TensorParity) -> str:
    if tensors.max_abs == 0:
        return f"tensors compared bit for bit: {tensors.compared}"
    return (
        f"tensors compared bit for bit with the rounded source: {tensors.compared}; rounding "
        f"changed values by at most {tensors.max_abs:.2g}, {tensors.max_rel:.2g} of the largest"
    )


def _verdict(conversion: Conversion) -> Iterator[RenderableType]:
    assert conversion.parity is not None
    if conversion.passed:
        seconds = format_seconds(sum(conversion.seconds.values()))
        stages = (f"{name} {format_seconds(s)}" for name, s in conversion.seconds.items())
        yield Text.assemble(("every gate passed", "bold green"), f" in {seconds}")
        yield Text(", ".join(stages), style="dim")
        return
    for miss in conversion.parity.misses:
        yield folded((f"missed: {miss}", "bold red"))
    yield Text("kept because of --allow_mismatch" if conversion.kept else "nothing was kept")
