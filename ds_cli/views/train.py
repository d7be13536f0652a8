"""What ``deepseek train`` shows at the end: how the run went, or what it would need."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deepseek.units import format_bytes, format_seconds

__all__ = ["plan_view", "report_view"]

_MEMORY = {
    "program": "Python, torch, transformers",
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "average": "running average",
    "exchange": "buffers of exchange",
    "activations": "activations",
    "allocator": "held by the allocator",
    "checkpoint": "copy for checkpoints",
    "total": "in all",
}


def report_view(report: Mapping[str, Any]) -> RenderableType:
    """The report of a run."""
    table = _table()
    table.add_row("ended", f"{report['ending']} at step {report['step']} of {report['steps']}")
    if report["first_loss"] is not None:
        table.add_row("loss", f"{report['first_loss']:.4f} -> {report['last_loss']:.4f}")
    judged = report["held_out"]
    if judged is not None:
        table.add_row(
            "held out",
            f"loss {judged['loss']:.4f}, accuracy {judged['accuracy']:.1%} "
            f"of {judged['labels']:,} labels",
        )
    if report["units_per_second"] is not None:
        table.add_row("speed", f"{report['units_per_second']:,.0f} {report['unit']}/s")
        table.add_row("time", format_seconds(report["seconds"]))
    processes = report["processes"]
    table.add_row("processes", str(processes))
    table.add_row("memory", f"{format_bytes(report['peak'])} in the process that held most")
    for note in report["notes"]:
        table.add_row("note", note)
    table.add_row("model", report["model"])
    return Group(table, Text(f"\ndeepseek convert {report['model']} model.onnx", style="dim"))


def plan_view(plan: Mapping[str, Any]) -> RenderableType:
    """The plan of a run."""
    layout = plan["layout"]
    facts = _table()
    facts.add_row("parameters", f"{plan['parameters']:,}")
    facts.add_row("processes", _processes(layout))
    parts = plan["micro_batches"]
    facts.add_row(
        "batch",
        f"{plan['rows']} records a process, {'at once' if parts == 1 else f'in {parts} parts'}",
    )
    facts.add_row("on the wire", f"{format_bytes(plan['wire'])} sent by a process in a step")
    if layout["stages"] > 1:
        facts.add_row("bubble", f"{plan['bubble']:.0%} of a step, with ideal stages")
    each, free = format_bytes(plan["memory"]["total"]), format_bytes(plan["available"])
    facts.add_row("needed here", f"{plan['local_processes']} x {each} of {free} that are free")
    memory = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    memory.add_column("memory of a process")
    memory.add_column("", justify="right")
    for kind, words in _MEMORY.items():
        if plan["memory"][kind]:
            memory.add_row(words, format_bytes(plan["memory"][kind]))
    return Group(facts, Text(), memory)


def _processes(layout: Mapping[str, int]) -> str:
    kinds = ("stages", "replicas", "shards")
    return " x ".join(f"{layout[kind]} {kind}" for kind in kinds if layout[kind] > 1) or "1"


def _table() -> Table:
    table = Table(box=None, show_header=False, show_edge=False, pad_edge=False, padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    return table
