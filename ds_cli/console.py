"""Where words go: the result to stdout, talk to stderr, progress only to a terminal."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.markup import escape

from deepseek.progress import Progress, silent
from ds_cli.outcome import Outcome

__all__ = ["Talk"]

_PIPED_WIDTH = 160  # a pipe has no width; this one keeps table rows on one line


def _console(stream: TextIO) -> Console:
    piped = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(file=stream, width=_PIPED_WIDTH if piped else None, highlight=False)


class Talk:
    """The two streams of a command. Colour goes away with NO_COLOR and where no terminal is.

    Args:
        as_json: Print the result as one JSON document instead of a view for people.
        quiet: Keep stderr silent except for errors.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._out = _console(sys.stdout)
        self._err = _console(sys.stderr)

    def result(self, outcome: Outcome) -> None:
        """Print a result on stdout, in the form that was asked for."""
        if self._as_json:
            sys.stdout.write(json.dumps(outcome.document, indent=2, ensure_ascii=False) + "\n")
        elif isinstance(outcome.view, str):
            sys.stdout.write(outcome.view + "\n")
        else:
            self._out.print(outcome.view)
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Tell a person on stderr what is going on."""
        if not self._quiet:
            self._err.print(escape(text), style="dim", soft_wrap=True)

    def error(self, message: str, hint: str | None = None) -> None:
        """Report on stderr why a command ends: one line, and perhaps a hint."""
        self._err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
        if hint is not None:
            self._err.print(f"[bold cyan]hint:[/] {escape(hint)}", soft_wrap=True)

    def traceback(self) -> None:
        """Print the traceback of the exception being handled."""
        self._err.print_exception()

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Show the progress of long work, a bar for each stage, with rate and time left.

        Yields:
            The listener to hand to the library; a silent one where stderr is no terminal.
        """
        if self._quiet or not self._err.is_terminal:
            yield silent
            return
        from ds_cli.bars import Bars

        with Bars(self._err) as bars:
            yield bars
