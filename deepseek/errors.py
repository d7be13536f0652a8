"""What can go wrong because of what we were given, as opposed to what we did wrong.

A message reads in one line: what was expected, what was found. The way out, where there is one,
is the hint. Anything else that escapes the library is a defect of ours.
"""

__all__ = ["DeepseekError", "GateError", "InputError"]

_LONGEST = 2000


class DeepseekError(Exception):
    """Base of every error the library raises on purpose.

    Args:
        message: One line: what was expected and what was found.
        hint: One line: what to do next.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = _one_line(message)
        self.hint = None if hint is None else _one_line(hint)

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} (hint: {self.hint})"


def _one_line(text: str) -> str:
    """The text without what files may smuggle in: line breaks, terminal commands, megabytes."""
    printable = "".join(char if char.isprintable() else "\ufffd" for char in text[:_LONGEST])
    return printable if len(text) <= _LONGEST else f"{printable}…"


class InputError(DeepseekError, ValueError):
    """A file, option or value that the user gave cannot be used."""


class GateError(DeepseekError):
    """The work was done, and its result missed a gate: parity, accuracy, a requirement."""
