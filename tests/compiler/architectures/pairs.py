"""Encoders with decoders, of text."""

from __future__ import annotations

from tests.compiler.architectures.case import VOCABULARY, Case, Inputs, translated

__all__ = ["PAIRS"]

_BART = {
    "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96,
    "vocab_size": VOCABULARY, "use_cache": False,
}  # fmt: skip
_T5 = {
    "d_model": 64, "num_layers": 2, "num_heads": 4, "d_kv": 16, "d_ff": 96,
    "vocab_size": VOCABULARY, "use_cache": False,
}  # fmt: skip


def _pair(model_type: str, options: Inputs, *, quick: bool = False) -> Case:
    return Case(model_type, options, translated, quick=quick)


PAIRS = {
    "bart": _pair("bart", _BART, quick=True),
    "bart, filling a cache": _pair("bart", {**_BART, "use_cache": True}),
    "bigbird pegasus": _pair("bigbird_pegasus", {**_BART, "attention_type": "original_full"}),
    "blenderbot": _pair("blenderbot", _BART),
    "blenderbot, small": _pair("blenderbot-small", _BART),
    "led": _pair("led", {**_BART, "attention_window": 4}),
    "longt5": _pair("longt5", _T5),
    "m2m 100": _pair("m2m_100", _BART),
    "marian": _pair("marian", {**_BART, "pad_token_id": 1, "decoder_start_token_id": 2}),
    "mbart": _pair("mbart", _BART),
    "mt5": _pair("mt5", {**_T5, "feed_forward_proj": "gated-gelu"}),
    "mvp": _pair("mvp", _BART),
    "pegasus": _pair("pegasus", _BART),
    "plbart": _pair("plbart", _BART),
    "prophetnet": _pair(
        "prophetnet",
        {"hidden_size": 64, "num_encoder_layers": 2, "num_decoder_layers": 2,
         "num_encoder_attention_heads": 4, "num_decoder_attention_heads": 4,
         "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "vocab_size": VOCABULARY,
         "use_cache": False},
    ),
    "switch transformers": _pair("switch_transformers", {**_T5, "num_experts": 4}),
    "t5": _pair("t5", _T5, quick=True),
    "t5, filling a cache": _pair("t5", {**_T5, "use_cache": True}),
    "umt5": _pair("umt5", _T5),
}  # fmt: skip
