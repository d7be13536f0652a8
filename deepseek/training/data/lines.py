"""Texts cut into records of equal length, one after the other, for language models."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from deepseek.data.packed.field import Field
from deepseek.data.packed.writer import PackedWriter
from deepseek.errors import InputError
from deepseek.progress import Progress

__all__ = ["pack_texts"]


def pack_texts(
    texts: Iterable[str],
    dest: Path,
    *,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    progress: Progress,
) -> int:
    """Write the texts as records of ``length`` tokens; how many come back.

    Texts follow one another, each ended by the tokenizer's end token; what does not fill the last
    record is left out.

    Raises:
        InputError: There is less text than two records.
    """
    count = 0
    with PackedWriter(dest, [Field("tokens", "int32", (length,))]) as writer:
        for count, record in enumerate(_records(texts, tokenizer, length), start=1):
            writer.write({"tokens": record})
            progress("packing", count, None)
        if count < _FEWEST:
            raise InputError(
                f"expected text for at least {_FEWEST} records of {length} tokens, got {count}",
                hint="give more --data, or a smaller --sequence_length",
            )
    return count


_FEWEST = 2


def _records(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int
) -> Iterator[list[int]]:
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    rest: list[int] = []
    for text in texts:
        rest += tokenizer(text, add_special_tokens=False)["input_ids"]
        if end is not None:
            rest.append(end)
        whole = len(rest) // length * length
        for begin in range(0, whole, length):
            yield rest[begin : begin + length]
        rest = rest[whole:]
