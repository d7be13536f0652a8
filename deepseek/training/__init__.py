"""Training: one loop for every task, layout and precision, with checkpoints that resume exactly.

Public names are imported on first use, so that a configuration can be read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.training.config import TrainConfig
    from deepseek.training.train import train

_HOMES = {
    "TrainConfig": "deepseek.training.config",
    "train": "deepseek.training.train",
}

__all__ = ["TrainConfig", "train"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepseek.training' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
