"""A quantized model as a person reads of it: a table and a verdict."""

from collections import Counter
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deepseek.quantization.quality import Quality
from deepseek.quantization.report import Report
from deepseek.quantization.search.outcome import SearchReport, Tried
from deepseek.quantization.statistics import Interval
from deepseek.units import format_bytes, format_seconds

__all__ = ["show"]

_METRICS = {
    "accuracy": "accuracy",
    "next_token_accuracy": "next-token accuracy",
    "agreement": "agreement",
    "f1": "F1, mean of classes",
    "spearman": "rank correlation",
    "cosine": "cosine, mean",
    "kl": "divergence",
    "perplexity": "perplexity",
}
_ENDINGS = {
    "found": "as few layers as suffice returned to floating point",
    "time": "ended by --time_budget, with the best so far",
    "none": "none within the budget with anything in INT8",
}
_NAMED = 3  # layers
_STYLES = {"passed": "bold green", "undecided": "bold yellow", "missed": "bold red"}


def show(report: Report) -> RenderableType:
    """The table of before and after, and below it what it means."""
    return Group(_table(report), *(Text(line, style=style) for line, style in _lines(report)))


def _table(report: Report) -> Table:
    table = Table(title=f"{report.architecture}, {_layers(len(report.layers))} in INT{report.bits}")
    for heading in ("", "before", "after", "change"):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for row in _rows(report):
        table.add_row(*row)
    return table


def _rows(report: Report) -> Iterator[tuple[str, str, str, str]]:
    quality, timing, sizes = report.quality, report.timing, report.sizes
    yield (
        "size",
        format_bytes(sizes.before),
        format_bytes(sizes.after),
        f"{sizes.after / sizes.before:.2f}x",
    )
    yield from _quality_rows(quality)
    yield (
        "time a text *",
        format_seconds(timing.record_before),
        format_seconds(timing.record_after),
        f"{timing.record_after / timing.record_before:.2f}x",
    )


def _quality_rows(quality: Quality) -> Iterator[tuple[str, str, str, str]]:
    name = _METRICS[quality.metric]
    if quality.metric == "cosine":
        yield name, "", f"{quality.after:.5f}", f"{-quality.drop:+.5f}"
        yield "cosine, lowest", "", f"{quality.lowest:.5f}", ""
    elif quality.metric == "kl":
        yield name, "", f"{quality.after:.5f} nats", ""
    elif quality.metric == "perplexity":
        change = f"{100 * quality.drop:+.2f} %"
        yield name, f"{quality.before:.3f}", f"{quality.after:.3f}", change
    elif quality.metric == "spearman":
        yield name, f"{quality.before:.4f}", f"{quality.after:.4f}", f"{0 - quality.drop:+.4f}"
    elif quality.metric != "agreement":
        change = f"{0 - 100 * quality.drop:+.2f} points"
        yield name, _percent(quality.before), _percent(quality.after), change
    if quality.agreement is not None:
        yield "agreement", "", _percent(quality.agreement), ""


def _lines(report: Report) -> Iterator[tuple[str, str]]:
    quality = report.quality
    yield _verdict(quality), _STYLES[quality.verdict]
    yield _intervals(quality), ""
    if quality.verdict == "undecided":
        yield _too_few(quality), "yellow"
    yield from _search_lines(report.search)
    if not report.vnni:
        yield "this processor has no VNNI instructions: INT8 gains less here", "yellow"
    for reason, count in Counter(layer.reason for layer in report.left_alone).items():
        yield f"left in floating point: {_layers(count)}, {reason}", ""
    for note in report.notes:
        yield note, ""
    yield "* one pass, an indication only", "dim"
    written = f"written to {report.output}" if report.output else _nothing_written()
    yield f"{written}; {format_seconds(report.timing.total)}", ""


def _search_lines(search: SearchReport | None) -> Iterator[tuple[str, str]]:
    if search is None:
        return
    if len(search.methods) > 1:
        yield f"methods tried: {', '.join(map(_tried, search.methods))}", ""
    if search.stopped not in (None, "whole"):
        tried = f"{len(search.trials)} models tried in {format_seconds(search.seconds)}"
        yield f"search: {tried}; {_ENDINGS[search.stopped]}", ""
    if search.sensitivity:
        names = (f"{unit.name} ({unit.distance:.1e})" for unit in search.sensitivity[:_NAMED])
        yield f"most sensitive: {', '.join(names)}", ""


def _tried(one: Tried) -> str:
    if one.drop is None or one.size is None:
        return one.method
    return f"{one.method} ({_percent(one.drop)}, {format_bytes(one.size)})"


def _verdict(quality: Quality) -> str:
    drop, most = _percent(quality.drop), _percent(quality.max_drop)
    return f"{quality.verdict}: drop {drop}, at most {most} allowed, on {quality.n} held-out texts"


def _intervals(quality: Quality) -> str:
    text = f"95 % interval of the drop {_range(quality.drop_interval)}"
    if quality.agreement_interval is None:
        return text
    return f"{text}, of the agreement {_range(quality.agreement_interval)}"


def _nothing_written() -> str:
    return "nothing written (--allow_drop keeps the output)"


def _too_few(quality: Quality) -> str:
    text = "too few texts to be sure: the interval holds the budget"
    if quality.records_needed is None:
        return text
    return f"{text}; about {quality.records_needed} would tell"


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.2f} to {100 * interval.high:.2f}"
