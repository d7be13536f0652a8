"""What a user sees when something is wrong, and the exit code that goes with it."""

import os
import sys
from collections.abc import Callable

from deepseek.errors import GateError, InputError
from ds_cli.console import Talk
from ds_cli.outcome import ExitCode

__all__ = ["guarded"]


def guarded(work: Callable[[], ExitCode], talk: Talk, *, debug: bool = False) -> ExitCode:
    """Run ``work``; turn whatever ends it into a line on stderr and an exit code.

    Args:
        work: The command's work.
        talk: Where to report.
        debug: Show the traceback as well.
    """
    try:
        return work()
    except BaseException as error:
        if isinstance(error, BrokenPipeError):
            return _reader_left()
        if isinstance(error, SystemExit):
            raise
        if debug:
            talk.traceback()
        message, hint, code = _explain(error)
        talk.error(message, hint)
        return code


def _explain(error: BaseException) -> tuple[str, str | None, ExitCode]:
    match error:
        case KeyboardInterrupt():
            return "interrupted", None, ExitCode.INTERRUPTED
        case InputError():
            return error.message, error.hint, ExitCode.BAD_INPUT
        case GateError():
            return error.message, error.hint, ExitCode.GATE_FAILED
        case OSError() if error.strerror is not None:
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}{error.strerror}", None, ExitCode.BAD_INPUT
        case _:
            text = " ".join(str(error).split()) or "no message"
            return (
                f"unexpected {type(error).__name__}: {text}",
                "this is a defect of the toolkit; --debug shows the traceback to report",
                ExitCode.INTERNAL,
            )


def _reader_left() -> ExitCode:
    """The program that read our output ended; later writes must not complain about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.INTERRUPTED
