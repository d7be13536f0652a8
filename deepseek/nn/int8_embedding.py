"""``Int8Embedding``: stands in for ``torch.nn.Embedding`` at inference, a quarter of its size."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from deepseek.nn.int8_arithmetic import quantize_weight

__all__ = ["Int8Embedding"]


class Int8Embedding(nn.Module):
    """A table of INT8 with a scale for each row, widened as rows are looked up.

    Attributes:
        weight: INT8, ``[num_embeddings, embedding_dim]``.
        weight_scale: ``[num_embeddings, 1]``, of the type of what is looked up.
    """

    weight: Tensor
    weight_scale: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        padding_idx: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx
        shape = (num_embeddings, embedding_dim)
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.int8, device=device))
        scale = torch.ones((num_embeddings, 1), dtype=dtype, device=device)
        self.register_buffer("weight_scale", scale)

    @classmethod
    def from_embedding(cls, table: nn.Embedding) -> Self:
        """Quantize a table, a scale a row: ``max|w| / 127``."""
        layer = cls(
            table.num_embeddings,
            table.embedding_dim,
            padding_idx=table.padding_idx,
            dtype=table.weight.dtype,
            device="meta",
        )
        layer.weight, layer.weight_scale = quantize_weight(table.weight.detach())
        return layer.train(table.training)

    def share(self, weight: Tensor, weight_scale: Tensor) -> None:
        """Take the weight and scales of another table."""
        self.weight, self.weight_scale = weight, weight_scale

    def forward(self, ids: Tensor) -> Tensor:
        """Look rows up: ``[...]`` to ``[..., embedding_dim]``."""
        rows = embedding(ids, self.weight).to(self.weight_scale.dtype)
        return rows * embedding(ids, self.weight_scale)

    def extra_repr(self) -> str:
        """The sizes, as ``nn.Embedding`` shows them."""
        return f"{self.num_embeddings}, {self.embedding_dim}"
