"""Records out of the files people have, and data sets that are read without being copied.

Names are imported on first use, so that configurations load without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.data.boundaries import document_ids, position_ids
    from deepseek.data.config import InspectConfig, PackConfig
    from deepseek.data.loader import PackedLoader
    from deepseek.data.order.permutation import Permutation
    from deepseek.data.order.sampler import ShuffledSampler
    from deepseek.data.packed.dataset import PackedDataset
    from deepseek.data.packed.field import Field
    from deepseek.data.packed.ragged import Ragged
    from deepseek.data.packed.writer import PackedWriter
    from deepseek.data.packing.pack import pack

_HOMES = {
    "Field": "deepseek.data.packed.field",
    "InspectConfig": "deepseek.data.config",
    "PackConfig": "deepseek.data.config",
    "PackedDataset": "deepseek.data.packed.dataset",
    "PackedLoader": "deepseek.data.loader",
    "PackedWriter": "deepseek.data.packed.writer",
    "Permutation": "deepseek.data.order.permutation",
    "Ragged": "deepseek.data.packed.ragged",
    "ShuffledSampler": "deepseek.data.order.sampler",
    "document_ids": "deepseek.data.boundaries",
    "pack": "deepseek.data.packing.pack",
    "position_ids": "deepseek.data.boundaries",
}

__all__ = [
    "Field",
    "InspectConfig",
    "PackConfig",
    "PackedDataset",
    "PackedLoader",
    "PackedWriter",
    "Permutation",
    "Ragged",
    "ShuffledSampler",
    "document_ids",
    "pack",
    "position_ids",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepseek.data' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
