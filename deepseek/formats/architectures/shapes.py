"""Names and shapes as the families ask for them."""

import re
from collections.abc import Callable, Collection, Mapping

__all__ = ["Differs", "Shapes"]


class Differs(Exception):  # noqa: N818 - not an error but an answer: what is different
    """The checkpoint is not of the family; the message says in what."""


class Shapes:
    """Sizes of tensors under the canonical names of a family.

    Args:
        sizes: Shape of each tensor by name.
        base: Put before every name that is asked for: ``bert.``.
        shared: Names of tensors that are the same as another one.
        value: Reads the numbers of a small tensor.
    """

    def __init__(
        self,
        sizes: Mapping[str, tuple[int, ...]],
        base: str,
        shared: Collection[str],
        value: Callable[[str], list[float]],
    ) -> None:
        self._sizes = sizes
        self._base = base
        self._shared = shared
        self._value = value

    def __contains__(self, name: str) -> bool:
        return self._base + name in self._sizes

    def outside(self, name: str) -> tuple[int, ...] | None:
        """Shape of a tensor that is not in the base model; None where it is absent."""
        return self._sizes.get(name)

    def shared(self, name: str) -> bool:
        """Whether a tensor outside the base model is the same as another one."""
        return name in self._shared

    def of(self, name: str, rank: int) -> tuple[int, ...]:
        """Shape of a tensor.

        Raises:
            Differs: It is absent or of another rank.
        """
        size = self._sizes.get(self._base + name)
        if size is None:
            raise Differs(f"no {name}")
        if len(size) != rank or 0 in size:
            raise Differs(f"{name} of shape {list(size)}")
        return size

    def rows(self, name: str) -> int:
        """Rows of a matrix."""
        return self.of(name, 2)[0]

    def columns(self, name: str) -> int:
        """Columns of a matrix."""
        return self.of(name, 2)[1]

    def count(self, before: str) -> int:
        """How many numbered layers follow ``before``.

        Raises:
            Differs: There is none, or a number is left out.
        """
        pattern = re.compile(re.escape(self._base + before) + r"(\d{1,6})\.")
        matches = (pattern.match(name) for name in self._sizes)
        numbers = {int(match[1]) for match in matches if match}
        if not numbers:
            raise Differs(f"no {before}0")
        if numbers != set(range(len(numbers))):
            absent = min(set(range(len(numbers))) - numbers)
            raise Differs(f"{before}{absent} is left out")
        return len(numbers)

    def values(self, name: str) -> list[float] | None:
        """Numbers of a small tensor; None where it is absent."""
        return self._value(self._base + name) if name in self else None
