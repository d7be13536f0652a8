"""What ``deepseek compile`` shows: kernels, comparison, time."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.text import Text

from deepseek.formats.programs.compiling import CompiledCheckpoint
from deepseek.units import format_bytes, format_seconds
from ds_cli.views.parity import folded, parity_table, plain_table

__all__ = ["show"]

_WIDEST = 120


def show(report: CompiledCheckpoint) -> RenderableType:
    """Tables of kernels and comparisons, and what they mean."""
    return Constrain(Group(*_parts(report)), _WIDEST)


def _parts(report: CompiledCheckpoint) -> Iterator[RenderableType]:
    precision = report.config.precision
    yield folded(f"{report.config.model}  ({report.architecture}, {precision})")
    for note in report.notes:
        yield folded((f"note: {note}", "dim"))
    yield Text()
    table = plain_table("kernel", "calls", numbers=("calls",))
    for name, count in sorted(report.kernels.items(), key=lambda item: -item[1]):
        table.add_row(name, str(count))
    yield table
    yield Text()
    yield folded(_run(report))
    yield Text()
    yield parity_table(report.parity.outputs)
    yield Text()
    yield from _verdict(report)


def _run(report: CompiledCheckpoint) -> str:
    """How one run goes, in words."""
    left = ", ".join(f"{name} x {count}" for name, count in report.left.items()) or "nothing"
    return (
        f"{report.launches} launches in {report.native_calls} native calls, "
        f"{format_bytes(report.arena)} of intermediate results; left to ATen: {left}"
    )


def _verdict(report: CompiledCheckpoint) -> Iterator[RenderableType]:
    for miss in report.parity.misses:
        yield folded((f"missed: {miss}", "bold red"))
    if report.parity.passed:
        graphs = f"{report.graphs} graph{'' if report.graphs == 1 else 's'}"
        yield Text.assemble(
            ("every gate passed", "bold green"),
            f"; {graphs} captured and rewritten in {format_seconds(report.seconds)}",
        )
    yield Text(
        f"{report.sizes}: {format_seconds(report.before)} -> {format_seconds(report.after)}, "
        f"{report.before / report.after:.2f}x the speed *"
    )
    written = f"written to {report.config.output}" if report.kept else "nothing was written"
    yield folded(written)
    yield Text("* a few runs, an indication only", style="dim")
