"""Machine code generated at run time: what runs per element, at the speed the machine has.

No compiler is needed. Public names are imported on first use, so that asking for the target needs
no torch. Importing :mod:`deepseek.kernels.ops` registers the kernels as ``torch.ops.deepseek.*``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.kernels.attend import BlockLists, attention, block_sparse_attention
    from deepseek.kernels.gemm import PackedWeight, linear, pack_weight
    from deepseek.kernels.rows import (
        add_layer_norm,
        add_rms_norm,
        embedding,
        embedding_layer_norm,
        layer_norm,
        log_softmax,
        rms_norm,
        rotary,
        softmax,
    )
    from deepseek.kernels.target import Target, current, host

_HOMES = {
    "BlockLists": "deepseek.kernels.attend",
    "PackedWeight": "deepseek.kernels.gemm",
    "Target": "deepseek.kernels.target",
    "add_layer_norm": "deepseek.kernels.rows",
    "add_rms_norm": "deepseek.kernels.rows",
    "attention": "deepseek.kernels.attend",
    "block_sparse_attention": "deepseek.kernels.attend",
    "current": "deepseek.kernels.target",
    "embedding": "deepseek.kernels.rows",
    "embedding_layer_norm": "deepseek.kernels.rows",
    "host": "deepseek.kernels.target",
    "layer_norm": "deepseek.kernels.rows",
    "linear": "deepseek.kernels.gemm",
    "log_softmax": "deepseek.kernels.rows",
    "pack_weight": "deepseek.kernels.gemm",
    "rms_norm": "deepseek.kernels.rows",
    "rotary": "deepseek.kernels.rows",
    "softmax": "deepseek.kernels.rows",
}

__all__ = [
    "BlockLists", "PackedWeight", "Target", "add_layer_norm", "add_rms_norm", "attention",
    "block_sparse_attention", "current", "embedding", "embedding_layer_norm", "host",
    "layer_norm", "linear", "log_softmax", "pack_weight", "rms_norm", "rotary", "softmax",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepseek.kernels' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
