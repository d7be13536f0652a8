"""Models of text and images together."""

from __future__ import annotations

import torch

from tests.compiler.architectures.case import VOCABULARY, Case, Inputs, Make, masked, pixels

__all__ = ["TOGETHER"]

_SMALL = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
}  # fmt: skip
_PATCHES = {**_SMALL, "image_size": 32, "patch_size": 8}


def _seen_and_read(size: int = 32) -> Make:
    def make(batch: int, length: int) -> Inputs:
        return {**masked(batch, length), **pixels(size)(batch, length)}

    return make


_TEXT = {**_SMALL, "vocab_size": VOCABULARY}

TOGETHER = {
    "clip": Case(
        "clip",
        {"text_config": {**_TEXT, "eos_token_id": 2}, "vision_config": _PATCHES,
         "projection_dim": 32},
        _seen_and_read(),
    ),
    "chinese clip": Case(
        "chinese_clip",
        {"text_config": _TEXT, "vision_config": _PATCHES, "projection_dim": 32},
        _seen_and_read(),
    ),
    "siglip": Case("siglip", {"text_config": _TEXT, "vision_config": _PATCHES}, _seen_and_read()),
    "vilt": Case("vilt", {**_TEXT, "image_size": 32, "patch_size": 8}, _seen_and_read()),
    "visual bert": Case(
        "visual_bert", {**_TEXT, "visual_embedding_dim": 32},
        lambda b, n: {**masked(b, n), "visual_embeds": torch.randn(b, 4, 32),
                      "visual_attention_mask": torch.ones(b, 4)},
    ),
    "lxmert": Case(
        "lxmert", {**_TEXT, "l_layers": 1, "x_layers": 1, "r_layers": 1, "visual_feat_dim": 32},
        lambda b, n: {**masked(b, n), "visual_feats": torch.randn(b, 4, 32),
                      "visual_pos": torch.rand(b, 4, 4)},
    ),
}  # fmt: skip
