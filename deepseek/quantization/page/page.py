"""The page of a report: what was asked, the verdict, before and after, layers, worst texts."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from deepseek.quantization.page.charts import Bar, Point, bars, curve
from deepseek.quantization.page.style import STYLE
from deepseek.units import format_bytes, format_seconds

__all__ = ["render_page"]

_MOST_BARS = 60

_WORDS = {
    "passed": "The whole 95 % interval of the drop lies within the budget",
    "undecided": "The 95 % interval of the drop holds the budget: too few records to tell",
    "missed": "The whole 95 % interval of the drop lies above the budget",
}


def render_page(document: dict[str, Any]) -> str:
    """The page of a report, from its JSON document."""
    title = f"{document['architecture']} in INT{document['bits']}: {document['verdict']}"
    sections = [
        _head(document),
        _table(document),
        _sensitivity(document),
        _trade_off(document),
        _methods(document),
        _times(document),
        _worst(document),
        _foot(document),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"{''.join(sections)}</main></body></html>\n"
    )


def _head(document: dict[str, Any]) -> str:
    quality, verdict = document["quality"], document["verdict"]
    drop, most = _drop(quality, quality["drop"]), _drop(quality, quality["max_drop"])
    low, high = (_drop(quality, quality["drop_interval"][end]) for end in ("low", "high"))
    needed = quality["records_needed"]
    more = f" About {needed:,} records would." if needed else ""
    stamp = ""
    if document["source"] and document["source"]["calib_data"] == "random":
        stamp = '<p class="stamp">Calibrated and measured on random data, not on real inputs.</p>'
    return (
        f"<h1>{escape(document['architecture'])}</h1>"
        f'<p class="verdict {verdict}"><strong>{verdict}</strong> '
        f"{escape(_metric(quality))} drops by {drop} ({low} to {high}), at most {most} allowed, "
        f"on {quality['n']:,} held-out records.</p>"
        f"<p>{escape(_WORDS[verdict])}.{more}</p>{stamp}"
    )


def _metric(quality: dict[str, Any]) -> str:
    return str(quality["metric"]).replace("_", " ")


def _drop(quality: dict[str, Any], value: float) -> str:
    if quality["metric"] == "kl":
        return f"{value:.4f} nats"
    return f"{100 * value:.2f} %"


def _level(quality: dict[str, Any], value: float) -> str:
    if quality["metric"] in ("perplexity", "kl", "cosine", "spearman"):
        return f"{value:.4f}"
    return f"{100 * value:.2f} %"


def _table(document: dict[str, Any]) -> str:
    quality, size, seconds = (document[key] for key in ("quality", "size_bytes", "seconds"))
    before, after = seconds["record_before"], seconds["record_after"]
    rows = [
        ("size", format_bytes(size["before"]), format_bytes(size["after"]),
         f"{size['after'] / size['before']:.2f}x"),
        ("time a record, one pass", format_seconds(before), format_seconds(after),
         f"{after / before:.2f}x"),
        (_metric(quality), _level(quality, quality["before"]), _level(quality, quality["after"]),
         f"drop {_drop(quality, quality['drop'])}"),
    ]  # fmt: skip
    if quality["agreement"] is not None:
        interval = quality["agreement_interval"]
        range_ = f"{100 * interval['low']:.2f} to {100 * interval['high']:.2f} %"
        rows.append(("agreement", "", f"{100 * quality['agreement']:.2f} %", range_))
    return _section("Before and after", _rows(("", "before", "after", ""), rows))


def _sensitivity(document: dict[str, Any]) -> str:
    search = document["search"]
    if not search or not search["sensitivity"]:
        return ""
    kept = {layer["name"] for layer in document["left_alone"]}
    units = search["sensitivity"]
    rows = [
        Bar(unit["name"], unit["distance"], f"{unit['distance']:.1e}", unit["name"] in kept)
        for unit in units[:_MOST_BARS]
    ]
    more = f" The {len(units) - _MOST_BARS} least sensitive are not shown." * (
        len(units) > _MOST_BARS
    )
    text = (
        f"Each layer alone in INT8, on {units[0]['records']} calibration records: the distance of "
        f"the outputs from the original's, on a logarithmic scale. Marked ones stayed in floating "
        f"point.{more}"
    )
    chart = bars(rows, "Sensitivity of layers")
    return _section("Which layers hurt", f"<p>{escape(text)}</p><div class=chart>{chart}</div>")


def _trade_off(document: dict[str, Any]) -> str:
    search, quality = document["search"], document["quality"]
    if not search or len(search["trials"]) < 2:
        return ""
    scale, unit = (1.0, "nats") if quality["metric"] == "kl" else (100.0, "%")
    size = document["size_bytes"]["after"]
    points = [
        Point(
            trial["size"] / 1e6,
            scale * trial["drop"],
            scale * trial["low"],
            scale * trial["high"],
            f"{format_bytes(trial['size'])}, {len(trial['kept'])} in floating point: drop "
            f"{scale * trial['drop']:.3f} {unit}",
            trial["size"] == size,
        )
        for trial in search["trials"]
    ]
    chart = curve(points, scale * quality["max_drop"], "Size against drop", "size of the model",
                  f"drop, {unit}", " MB")  # fmt: skip
    text = (
        f"The {len(points)} models that the search tried, on calibration data, with the 95 % "
        "interval of each; the marked one was chosen."
    )
    return _section("Size against loss", f"<p>{escape(text)}</p><div class=chart>{chart}</div>")


def _methods(document: dict[str, Any]) -> str:
    search = document["search"]
    if not search or len(search["methods"]) < 2:
        return ""
    rows = [
        (one["method"], format_bytes(one["size"]), format_seconds(one["seconds"]),
         _drop(document["quality"], one["drop"]), "yes" if one["within"] else "no")
        for one in search["methods"]
        if one["size"] is not None
    ]  # fmt: skip
    names = ("method", "size", "time a record", "drop", "fits")
    return _section("Methods tried", _rows(names, rows))


def _times(document: dict[str, Any]) -> str:
    search = document["search"]
    if not search or not search["times"]:
        return ""
    rows = [
        (time["name"], format_seconds(time["before"]), format_seconds(time["after"]),
         f"{time['before'] / time['after']:.2f}x")
        for time in search["times"]
    ]  # fmt: skip
    names = ("layer", "floating point", "INT8", "faster")
    table = _rows(names, rows)
    return _section(
        "Is it faster here", f"<details><summary>{len(rows)} layers, timed on a calibration batch"
        f"</summary>{table}</details>",
    )  # fmt: skip


def _worst(document: dict[str, Any]) -> str:
    rows = [(f"{record['loss']:.3g}", record["record"]) for record in document["worst"]]
    if not rows:
        return ""
    table = _rows(("loss", "record"), rows)
    return _section("Worst records", f'<div class="texts">{table}</div>')


def _foot(document: dict[str, Any]) -> str:
    machine, source = document["machine"], document["source"]
    vnni = "with" if machine["vnni"] else "without"
    cpu = machine["cpu"] or "unknown processor"
    facts = [
        f"method {document['method']}",
        f"{len(document['layers'])} layers in INT{document['bits']}",
        f"{len(document['left_alone'])} left alone",
        f"{cpu}, {machine['threads']} threads, {vnni} VNNI",
        *(f"{name} {version}" for name, version in document["versions"].items()),
    ]
    if source:
        facts.insert(0, f"model {source['model']}, data {source['calib_data']}")
    notes = "".join(f"<p>{escape(note)}</p>" for note in document["notes"])
    return f"<footer>{notes}<p>{escape('; '.join(facts))}</p></footer>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _rows(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def cells(tag: str, values: Sequence[str]) -> Iterator[str]:
        for value in values:
            yield f"<{tag}>{escape(str(value))}</{tag}>"

    head = "".join(cells("th", names))
    body = "".join(f"<tr>{''.join(cells('td', row))}</tr>" for row in rows)
    return f"<div class=chart><table><tr>{head}</tr>{body}</table></div>"
