"""Models that cannot be captured whole, by way of ``torch.compile``.

Dynamo breaks a graph where Python depends on what a tensor holds, and gives the backend the parts
before and after.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

__all__ = ["Parts"]

_log = logging.getLogger("deepseek.compiler")


class Parts:
    """A model that Dynamo takes apart; it runs as it is from when Dynamo fails where it does not.

    Args:
        model: In evaluation mode. Gradients are the caller's to turn off.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._run: Callable[..., Any] | None = None
        self._lock = threading.Lock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the model returns."""
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self._compiled()(*args, **kwargs)
        except TorchDynamoException as error:
            result = self._model(*args, **kwargs)  # if this fails too, in the model's own words
            self._run = self._model
            reason = str(error).strip().partition("\n")[0]
            _log.warning("%s runs uncompiled: %s", type(self._model).__name__, reason)
            return result

    def _compiled(self) -> Callable[..., Any]:
        import torch

        from deepseek.compiler.backend import deepseek

        with self._lock:
            if self._run is None:
                self._run = torch.compile(self._model, backend=deepseek, dynamic=True)
            return self._run
