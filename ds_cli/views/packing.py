"""What ``deepseek data pack`` shows."""

from typing import Any

from rich.text import Text

from deepseek.data.packing.pack import Packing
from deepseek.units import format_bytes, format_seconds

__all__ = ["packing_document", "packing_view"]


def packing_document(packing: Packing) -> dict[str, Any]:
    """The result as plain JSON values."""
    return {
        "schema": "deepseek.data-pack/1",
        "output": str(packing.output),
        "source": packing.source,
        "records": packing.index.records,
        "fields": [field.as_json() for field in packing.index.fields],
        "shards": len(packing.index.shards),
        "bytes": packing.index.bytes,
        "rows": packing.rows,
        "empty": packing.empty,
        "tokens": packing.tokens,
        "left_out": packing.left_out,
        "resumed": packing.resumed,
        "seconds": round(packing.seconds, 3),
        "meta": packing.index.meta,
    }


def packing_view(packing: Packing) -> Text:
    """A line for the result, one for each field, and what was left out."""
    index = packing.index
    shards = f"{len(index.shards)} shard{'' if len(index.shards) == 1 else 's'}"
    text = Text.assemble(
        f"{packing.source}\n-> ",
        (str(packing.output), "bold"),
        f"  ({index.records} records, {shards}, {format_bytes(index.bytes)})\n\n",
    )
    for field in index.fields:
        text.append(f"  {field}\n")
    text.append("\n")
    for note in _notes(packing):
        text.append(f"{note}\n", "dim")
    seconds = format_seconds(packing.seconds)
    text.append(f"{packing.rows} rows in {seconds}")
    if packing.tokens is not None:
        text.append(f", {packing.tokens} tokens")
    return text


def _notes(packing: Packing) -> list[str]:
    notes = {
        f"{packing.resumed} records were finished by an earlier packing": packing.resumed,
        f"{packing.empty} rows without text are not in it": packing.empty,
        f"{packing.left_out} tokens did not fill the last sequence": packing.left_out,
    }
    return [note for note, holds in notes.items() if holds]
