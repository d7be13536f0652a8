"""Encoders of text."""

from __future__ import annotations

import torch

from tests.compiler.architectures.case import VOCABULARY, Case, Inputs, ids, masked

__all__ = ["ENCODERS"]

_SMALL = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 96, "vocab_size": VOCABULARY,
}  # fmt: skip
_OTHER = {"n_layers": 2, "n_heads": 4, "vocab_size": VOCABULARY}
_TURNING = {**_SMALL, "num_key_value_heads": 4, "pad_token_id": 0}


def _boxes(batch: int, length: int) -> Inputs:
    corners = torch.randint(0, 50, (batch, length, 4)).sort(-1).values
    return {**masked(batch, length), "bbox": corners}


def _entities(batch: int, length: int) -> Inputs:
    return {
        **masked(batch, length),
        "entity_ids": torch.randint(1, 10, (batch, 3)),
        "entity_attention_mask": torch.ones(batch, 3, dtype=torch.long),
        "entity_position_ids": torch.arange(6).view(1, 3, 2).expand(batch, 3, 2).contiguous(),
    }


ENCODERS = {
    "albert": Case("albert", {**_SMALL, "embedding_size": 32}, masked),
    "bert": Case("bert", _SMALL, masked, quick=True),
    "bert, attention written out": Case("bert", {**_SMALL, "attn_implementation": "eager"}, masked),
    "bert, words to guess": Case("bert", _SMALL, masked, "AutoModelForMaskedLM"),
    "bert, generating": Case("bert-generation", _SMALL, masked),
    "big bird": Case("big_bird", {**_SMALL, "attention_type": "original_full"}, masked),
    "bros": Case("bros", _SMALL, lambda b, n: {**masked(b, n), "bbox": torch.rand(b, n, 8)}),
    "camembert": Case("camembert", _SMALL, masked),
    "convbert": Case("convbert", {**_SMALL, "embedding_size": 64}, masked),
    "data2vec text": Case("data2vec-text", _SMALL, masked),
    "deberta": Case(
        "deberta",
        {**_SMALL, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
        masked,
    ),
    "deberta v2": Case(
        "deberta-v2",
        {**_SMALL, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
        masked,
    ),
    "distilbert": Case("distilbert", {**_OTHER, "dim": 64, "hidden_dim": 96}, masked),
    "electra": Case("electra", {**_SMALL, "embedding_size": 32}, masked),
    "ernie": Case("ernie", _SMALL, masked),
    "esm": Case("esm", {**_SMALL, "pad_token_id": 1, "position_embedding_type": "rotary"}, masked),
    "eurobert": Case("eurobert", _TURNING, masked),
    "flaubert": Case("flaubert", {**_OTHER, "emb_dim": 64}, masked),
    "fnet": Case("fnet", _SMALL, ids),
    "funnel": Case(
        "funnel",
        {"vocab_size": VOCABULARY, "block_sizes": [1, 1], "block_repeats": [1, 1], "d_model": 64,
         "n_head": 4, "d_head": 16, "d_inner": 96, "architectures": ["FunnelModel"]},
        masked,
    ),
    "ibert": Case("ibert", _SMALL, masked),
    "jina embeddings": Case("jina_embeddings_v3", _SMALL, masked),
    "layoutlm": Case("layoutlm", _SMALL, _boxes),
    "lilt": Case("lilt", {**_SMALL, "hidden_size": 96, "channel_shrink_ratio": 2}, _boxes),
    "luke": Case("luke", {**_SMALL, "entity_vocab_size": 10, "entity_emb_size": 16}, _entities),
    "markuplm": Case("markuplm", _SMALL, masked),
    "megatron bert": Case("megatron-bert", _SMALL, masked),
    "mobilebert": Case(
        "mobilebert", {**_SMALL, "embedding_size": 32, "intra_bottleneck_size": 32}, masked
    ),
    "modernbert": Case("modernbert", {**_SMALL, "pad_token_id": 0}, masked, quick=True),
    "mpnet": Case("mpnet", _SMALL, masked),
    "nomic bert": Case("nomic_bert", _SMALL, masked),
    "nystromformer": Case("nystromformer", {**_SMALL, "num_landmarks": 64}, masked),
    "rembert": Case(
        "rembert", {**_SMALL, "input_embedding_size": 32, "output_embedding_size": 32}, masked
    ),
    "roberta": Case("roberta", _SMALL, masked),
    "roberta, norm first": Case("roberta-prelayernorm", _SMALL, masked),
    "roc bert": Case("roc_bert", {**_SMALL, "enable_pronunciation": False, "enable_shape": False},
                     masked),
    "roformer": Case("roformer", _SMALL, masked),
    "splinter": Case("splinter", _SMALL, masked),
    "squeezebert": Case("squeezebert", {**_SMALL, "embedding_size": 64}, masked),
    "xlm": Case("xlm", {**_OTHER, "emb_dim": 64, "n_words": VOCABULARY}, masked),
    "xlm-roberta": Case("xlm-roberta", _SMALL, masked),
    "xlm-roberta xl": Case("xlm-roberta-xl", _SMALL, masked),
    "xlnet": Case(
        "xlnet",
        {"vocab_size": VOCABULARY, "d_model": 64, "n_layer": 2, "n_head": 4, "d_inner": 96},
        masked,
    ),
    "xmod": Case("xmod", {**_SMALL, "languages": ["en"], "default_language": "en"}, masked),
}  # fmt: skip
