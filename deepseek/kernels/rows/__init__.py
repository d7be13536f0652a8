"""What is done row by row: norms, softmax, embeddings, rotary positions, each in one pass."""

from deepseek.kernels.rows.embeddings import embedding, embedding_layer_norm
from deepseek.kernels.rows.norms import add_layer_norm, add_rms_norm, layer_norm, rms_norm
from deepseek.kernels.rows.reference import (
    embedding_reference,
    norm_reference,
    rotary_reference,
    softmax_reference,
)
from deepseek.kernels.rows.rotation import rotary
from deepseek.kernels.rows.softmaxes import log_softmax, softmax

__all__ = [
    "add_layer_norm", "add_rms_norm", "embedding", "embedding_layer_norm", "embedding_reference",
    "layer_norm", "log_softmax", "norm_reference", "rms_norm", "rotary", "rotary_reference",
    "softmax", "softmax_reference",
]  # fmt: skip
