"""What ``deepseek data inspect`` shows."""

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from deepseek.data.inspection import Inspection, Shown
from deepseek.units import format_bytes

__all__ = ["inspection_document", "inspection_view"]

_LONGEST_TEXT = 300
_NUMBERS_IN_DOCUMENT = 64
_NUMBERS_IN_VIEW = 12
_SHARDS_IN_VIEW = 20


def inspection_document(inspection: Inspection) -> dict[str, Any]:
    """The result as plain JSON values."""
    index = inspection.index
    return {
        "schema": "deepseek.data-inspect/1",
        "path": str(inspection.path),
        "records": index.records,
        "bytes": index.bytes,
        "fields": [field.as_json() for field in index.fields],
        "shards": [
            {"file": shard.file, "records": shard.records, "bytes": shard.bytes}
            for shard in index.shards
        ],
        "meta": index.meta,
        "shown": [_shown_document(shown) for shown in inspection.shown],
        "verified": inspection.verified,
        "damages": [
            {
                "file": str(damage.file),
                "start": damage.start,
                "bytes": damage.bytes,
                "what": damage.what,
            }
            for damage in inspection.damages
        ],
    }


def inspection_view(inspection: Inspection) -> RenderableType:
    """Fields, shards, what the packer said, some records, and a verdict."""
    return Group(*_parts(inspection))


def _parts(inspection: Inspection) -> Iterator[RenderableType]:
    index = inspection.index
    size = format_bytes(index.bytes)
    yield Text.assemble((str(inspection.path), "bold"), f"  ({index.records} records, {size})")
    for field in index.fields:
        yield Text(f"  {field}")
    for key, value in index.meta.items():
        yield Text(f"  {key}: {_told(value)}", "dim")
    yield Text()
    yield _shards(inspection)
    for shown in inspection.shown:
        yield Text()
        yield Text(f"record {shown.number}", "bold")
        for name, tensor in shown.values.items():
            yield Text(f"  {name}: {_numbers(tensor)}")
        if shown.text is not None:
            yield Text(f"  text: {shown.text[:_LONGEST_TEXT]!r}")
    if inspection.verified:
        yield Text()
        yield _verdict(inspection)


def _told(value: Any) -> str:
    """What the packer had to say, without the marks of JSON and without what it left open."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(v)}" for key, v in value.items() if v is not None)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _shards(inspection: Inspection) -> RenderableType:
    table = Table("file", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("records", justify="right")
    table.add_column("size", justify="right")
    shards = inspection.index.shards
    for shard in shards[:_SHARDS_IN_VIEW]:
        table.add_row(shard.file, str(shard.records), format_bytes(shard.bytes))
    if len(shards) > _SHARDS_IN_VIEW:
        table.add_row(f"and {len(shards) - _SHARDS_IN_VIEW} more", "", "")
    return table


def _verdict(inspection: Inspection) -> Text:
    if not inspection.damages:
        return Text("every block has its checksum", "bold green")
    return Text("\n").join(Text(str(damage), "bold red") for damage in inspection.damages)


def _numbers(tensor: Tensor) -> str:
    if not tensor.ndim:
        return str(tensor.item())
    first = ", ".join(map(str, tensor.flatten()[:_NUMBERS_IN_VIEW].tolist()))
    more = ", …" if tensor.numel() > _NUMBERS_IN_VIEW else ""
    return f"{list(tensor.shape)} {first}{more}"


def _shown_document(shown: Shown) -> dict[str, Any]:
    fields = {
        name: {
            "shape": list(tensor.shape),
            "first": tensor.flatten()[:_NUMBERS_IN_DOCUMENT].tolist(),
        }
        for name, tensor in shown.values.items()
    }
    return {"record": shown.number, "fields": fields, "text": shown.text}
