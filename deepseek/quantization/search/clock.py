"""How much time is left."""

import time

__all__ = ["Clock"]


class Clock:
    """Runs from its making.

    Args:
        budget: Seconds that may be spent; None for as many as it takes.
    """

    def __init__(self, budget: float | None) -> None:
        self._began = time.perf_counter()
        self._budget = budget

    def spent(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._began

    def over(self, share: float = 1.0) -> bool:
        """Whether this share of the budget is spent."""
        return self._budget is not None and self.spent() > share * self._budget
