"""Charts as inline SVG. Colours are variables of the page, so that they follow light and dark."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import log10

__all__ = ["Bar", "Point", "bars", "curve"]

_WIDTH, _ROW, _LABEL = 640, 20, 300
_HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 260, 64, 40, 16, 20


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: its name, its value above zero, how that reads, and whether it stands out."""

    name: str
    value: float
    text: str
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """A point with the interval of its height, what it is, and whether it stands out."""

    x: float
    y: float
    low: float
    high: float
    text: str
    marked: bool = False


def bars(rows: Sequence[Bar], title: str) -> str:
    """Horizontal bars on a logarithmic scale; of long names the last parts."""
    values = [row.value for row in rows if row.value > 0]
    if not values:
        return ""
    top, bottom = log10(max(values)), log10(min(values))
    span = max(top - bottom, 1.0)
    height = _ROW * len(rows) + 4
    parts = [_open(_WIDTH, height, title)]
    for number, row in enumerate(rows):
        y = 2 + _ROW * number
        share = 0.0 if row.value <= 0 else 0.05 + 0.95 * (1 - (top - log10(row.value)) / span)
        width = max(1.0, share * (_WIDTH - _LABEL - 80))
        parts.append(
            f"<g><title>{escape(f'{row.name}: {row.text}')}</title>"
            f'<text x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(_short(row.name))}'
            f'</text><rect x="{_LABEL}" y="{y + 3}" width="{width:.1f}" height="{_ROW - 6}" rx="2" '
            f'class="{"marked" if row.marked else "plain"}"/>'
            f'<text x="{_LABEL + width + 6:.1f}" y="{y + 14}" class="dim">{escape(row.text)}'
            "</text></g>"
        )
    return "".join([*parts, "</svg>"])


def _short(name: str, most: int = 44) -> str:
    """A path, or as many of its last parts as fit: the first ones are the same for all layers."""
    shown, whole = name, name
    while len(shown) > most and "." in whole:
        whole = whole.partition(".")[2]
        shown = f"….{whole}"
    return shown if len(shown) <= most else f"…{shown[1 - most :]}"


def curve(
    points: Sequence[Point], limit: float, title: str, x_name: str, y_name: str, x_unit: str
) -> str:
    """Points with their intervals, and a line for the budget."""
    if not points:
        return ""
    xs = [point.x for point in points]
    ys = [value for point in points for value in (point.low, point.high)] + [limit, 0.0]
    to_x = _scale(min(xs), max(xs), _LEFT + 12, _WIDTH - _RIGHT - 12)
    to_y = _scale(min(ys), max(ys), _HEIGHT - _BOTTOM, _TOP)
    parts = [_open(_WIDTH, _HEIGHT, title)]
    for value in _ticks(min(ys), max(ys)):
        y = to_y(value)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" class="dim">{value:g}</text>'
        )
    parts.extend(
        f'<text x="{to_x(value):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle" '
        f'class="dim">{value:g}{x_unit}</text>'
        for value in _ticks(min(xs), max(xs))
    )
    y = to_y(limit)
    parts.append(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="limit"/>'
        f'<text x="{_WIDTH - _RIGHT}" y="{y - 4:.1f}" text-anchor="end" class="dim">budget</text>'
        f'<text x="{(_LEFT + _WIDTH) / 2:.0f}" y="{_HEIGHT - 6}" text-anchor="middle" class="dim">'
        f"{escape(x_name)}</text>"
        f'<text x="14" y="{_HEIGHT / 2:.0f}" text-anchor="middle" class="dim" '
        f'transform="rotate(-90 14 {_HEIGHT / 2:.0f})">{escape(y_name)}</text>'
    )
    for point in points:
        x, kind = to_x(point.x), "marked" if point.marked else "plain"
        parts.append(
            f"<g><title>{escape(point.text)}</title>"
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{to_y(point.low):.1f}" '
            f'y2="{to_y(point.high):.1f}" class="whisker"/>'
            f'<circle cx="{x:.1f}" cy="{to_y(point.y):.1f}" r="{6 if point.marked else 4}" '
            f'class="{kind}"/></g>'
        )
    return "".join([*parts, "</svg>"])


def _scale(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    """From a range of values to a range of places."""
    factor = (last - first) / (high - low) if high > low else 0.0
    return lambda value: first + (value - low) * factor


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers from low to high."""
    span = high - low
    if span <= 0:
        return [float(f"{low:.6g}")]
    step = 10.0 ** round(log10(span / 5))
    step *= next(factor for factor in (0.2, 0.5, 1, 2, 5, 10) if span / (step * factor) <= 6)
    first = -(-low // step)
    return [
        float(f"{(first + n) * step:.6g}") for n in range(int((high - first * step) / step) + 1)
    ]


def _open(width: int, height: int, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">'
    )
