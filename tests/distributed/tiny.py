"""Tiny models and the plain single-process training that everything is compared with."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

VOCABULARY, WIDTH, TOKENS, ROWS, STEPS = 61, 16, 8, 8, 6
MAX_NORM, RATE = 0.5, 3e-3


class Block(nn.Module):
    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.before = nn.LayerNorm(WIDTH)
        self.attend = nn.Linear(WIDTH, 3 * WIDTH)
        self.join = nn.Linear(WIDTH, WIDTH)
        self.between = nn.LayerNorm(WIDTH)
        self.mix = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.causal = causal

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        rows, tokens, _ = hidden.shape
        query, key, value = (
            part.view(rows, tokens, 2, -1).transpose(1, 2)
            for part in self.attend(self.before(hidden)).chunk(3, dim=-1)
        )
        keys = None if mask is None else mask.bool()[:, None, None, :]
        seen = scaled_dot_product_attention(query, key, value, keys, is_causal=self.causal)
        hidden = hidden + self.join(seen.transpose(1, 2).reshape(rows, tokens, -1))
        return hidden + self.mix(self.between(hidden))


class TinyGpt(nn.Module):
    """Token and position embeddings, blocks, a head tied to the token embeddings.

    Positions are a parameter of the model itself, outside any of its modules.
    """

    def __init__(self, depth: int = 4, tied: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(TOKENS, WIDTH))
        self.blocks = nn.ModuleList(Block(causal=True) for _ in range(depth))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        hidden = self.embed(input_ids) + self.position
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.norm(hidden))


class TinyBert(nn.Module):
    """Blocks that see both ways through a mask; classifies the first token."""

    def __init__(self, depth: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(Block(causal=False) for _ in range(depth))
        self.pool = nn.Linear(WIDTH, WIDTH)
        self.classify = nn.Linear(WIDTH, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.norm(self.embed(input_ids))
        for block in self.encoder.layer:
            hidden = block(hidden, mask=attention_mask)
        return self.classify(torch.tanh(self.pool(hidden[:, 0])))


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())


def _gpt() -> tuple[nn.Module, list[tuple[dict[str, Tensor], Tensor]], Callable[..., Tensor]]:
    ids = torch.randint(0, VOCABULARY, (STEPS, ROWS, TOKENS))
    return TinyGpt(), [({"input_ids": step}, step) for step in ids], token_loss


def _bert() -> tuple[nn.Module, list[tuple[dict[str, Tensor], Tensor]], Callable[..., Tensor]]:
    ids = torch.randint(0, VOCABULARY, (STEPS, ROWS, TOKENS))
    lengths = torch.randint(1, TOKENS + 1, (STEPS, ROWS, 1))
    masks = (torch.arange(TOKENS) < lengths).long()
    labels = torch.randint(0, 3, (STEPS, ROWS))
    batches = [
        ({"input_ids": i, "attention_mask": m}, y)
        for i, m, y in zip(ids, masks, labels, strict=True)
    ]
    return TinyBert(), batches, cross_entropy


MAKERS: dict[str, Callable[[], Any]] = {"gpt": _gpt, "bert": _bert}


def make(
    name: str,
) -> tuple[nn.Module, list[tuple[dict[str, Tensor], Tensor]], Callable[..., Tensor]]:
    torch.manual_seed(0)
    model, batches, loss = MAKERS[name]()
    for parameter in model.parameters():  # small, as trained models begin: losses near ln(classes)
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.02)
    return model, batches, loss


@cache
def alone(name: str) -> tuple[list[float], list[float]]:
    """Losses and gradient norms of plain training in one process."""
    model, batches, loss = make(name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    losses, norms = [], []
    for inputs, targets in batches:
        optimizer.zero_grad()
        value = loss(model(**inputs), targets)
        value.backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM).item())
        optimizer.step()
        losses.append(value.item())
    return losses, norms
