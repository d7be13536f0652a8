"""Count the memory of tensors while they live, on tensors that have none.

Under torch's fake tensors every operation gives a result of the right shape, type and device
without computing it. The ledger sees each result and each release, and so knows what the real
step would hold at any moment.
"""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Ledger"]


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations inside it make.

    Attributes:
        held: Bytes that live now.
        peak: The most that lived at once since ``mark``.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held = 0
        self.peak = 0
        self._known: dict[int, int] = {}

    def mark(self) -> int:
        """Begin a new peak at what is held now, and give that."""
        self.peak = self.held
        return self.held

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf.untyped_storage())
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata  # noqa: SLF001 - the identity of a storage has no public name
        if key in self._known:
            return
        size = storage.nbytes()
        self._known[key] = size
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._release, key)

    def _release(self, key: int) -> None:
        self.held -= self._known.pop(key, 0)
