"""Lines of text, one at a time, with a plain answer to bytes that are no text."""

from collections.abc import Iterator
from pathlib import Path

from deepseek.data.readers.row import bad_row

__all__ = ["lines_of"]

_MARK = b"\xef\xbb\xbf"


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file with their numbers, from 1; ends of lines are kept.

    Raises:
        InputError: A line is not UTF-8, or holds a zero byte as only binary files do.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            raw = line.removeprefix(_MARK) if number == 1 else line
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise bad_row(
                    path,
                    number,
                    f"expected UTF-8 text, found byte 0x{raw[error.start]:02x}",
                    hint=f"iconv -f latin1 -t utf-8 {path} turns Latin-1 into UTF-8",
                ) from error
            if "\0" in text:
                raise bad_row(path, number, "expected text, found a zero byte: a binary file?")
            yield number, text
