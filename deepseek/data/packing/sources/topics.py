"""Text that every Python has: the topics of its own help, about 0.7 MB of English."""

import platform
from collections.abc import Iterator

from deepseek.data.packing.item import Item, Source
from deepseek.errors import InputError

__all__ = ["open_topics"]


def open_topics() -> Source:
    """The topics of ``help()``, one text each, in the order of their names.

    Raises:
        InputError: This Python comes without them.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise InputError(
            "expected pydoc_data.topics in this Python, found none",
            hint="some distributions leave it out; name files of your own",
        ) from error

    def items() -> Iterator[Item]:
        for name in sorted(topics):
            yield Item({"text": topics[name]}, f"topics:{name}")

    return Source(
        name=f"the help topics of Python {platform.python_version()}",
        items=items,
        count=len(topics),
    )
