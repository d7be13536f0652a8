"""Machine code generated at run time: what runs per element, at the speed the machine has.

No compiler is needed. Public names are imported on first use, so that asking for the target needs
no torch. Importing :mod:`deepseek.kernels.ops` registers the kernels as ``torch.ops.deepseek.*``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.kernels.attend import BlockLists, attention, block_sparse_attention
    from deepseek.kernels.gemm import PackedWeight, linear, pack_weight
    from deepseek.kernels.target import Target, current, host

_HOMES = {
    "BlockLists": "deepseek.kernels.attend",
    "PackedWeight": "deepseek.kernels.gemm",
    "Target": "deepseek.kernels.target",
    "attention": "deepseek.kernels.attend",
    "block_sparse_attention": "deepseek.kernels.attend",
    "current": "deepseek.kernels.target",
    "host": "deepseek.kernels.target",
    "linear": "deepseek.kernels.gemm",
    "pack_weight": "deepseek.kernels.gemm",
}

__all__ = [
    "BlockLists", "PackedWeight", "Target", "attention", "block_sparse_attention", "current",
    "host", "linear", "pack_weight",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepseek.kernels' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
