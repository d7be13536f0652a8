"""Decoders, also with a cache that is passed in."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from transformers.cache_utils import Cache

from tests.compiler.architectures.case import VOCABULARY, Case, Inputs, ids, masked

__all__ = ["DECODERS"]

_SMALL = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 96, "vocab_size": VOCABULARY, "use_cache": False,
}  # fmt: skip
_FEW_KEYS = {**_SMALL, "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0}
_GPT = {
    "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": VOCABULARY, "use_cache": False,
}  # fmt: skip
_EXPERTS = {**_FEW_KEYS, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_LM = "AutoModelForCausalLM"


def _decoder(model_type: str, options: Inputs, *, quick: bool = False) -> Case:
    return Case(model_type, options, masked, _LM, quick=quick)


_PLAIN = {
    "apertus": _decoder("apertus", _FEW_KEYS),
    "arcee": _decoder("arcee", _FEW_KEYS),
    "biogpt": _decoder("biogpt", _SMALL),
    "bitnet": _decoder("bitnet", _FEW_KEYS),
    "bloom": _decoder(
        "bloom", {"hidden_size": 64, "n_layer": 2, "n_head": 4, "vocab_size": VOCABULARY,
                  "use_cache": False}
    ),
    "codegen": _decoder("codegen", {**_GPT, "rotary_dim": 8}),
    "cohere": _decoder("cohere", _FEW_KEYS),
    "cohere 2": _decoder("cohere2", {**_FEW_KEYS, "sliding_window": 8}),
    "ctrl": _decoder("ctrl", {**_GPT, "dff": 96}),
    "dbrx": _decoder(
        "dbrx",
        {"d_model": 64, "n_heads": 4, "n_layers": 2, "vocab_size": VOCABULARY, "use_cache": False,
         "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
         "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4}},
    ),
    "deepseek v3": _decoder(
        "deepseek_v3",
        {**_SMALL, "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
         "n_group": 1, "topk_group": 1, "moe_intermediate_size": 32, "first_k_dense_replace": 1,
         "q_lora_rank": 32, "kv_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16,
         "v_head_dim": 16},
    ),
    "ernie 4.5": _decoder("ernie4_5", _FEW_KEYS),
    "exaone 4": _decoder("exaone4", {**_FEW_KEYS, "sliding_window": 8}),
    "falcon": _decoder("falcon", _SMALL),
    "falcon, alibi": _decoder("falcon", {**_SMALL, "alibi": True}),
    "falcon, parallel": _decoder(
        "falcon", {**_SMALL, "new_decoder_architecture": True, "num_kv_heads": 2}
    ),
    "gemma": _decoder("gemma", _FEW_KEYS, quick=True),
    "gemma 2": _decoder("gemma2", {**_FEW_KEYS, "sliding_window": 8}),
    "gemma 3": _decoder("gemma3_text", {**_FEW_KEYS, "sliding_window": 8}),
    "glm": _decoder("glm", _FEW_KEYS),
    "glm 4": _decoder("glm4", _FEW_KEYS),
    "gpt": _decoder("openai-gpt", _GPT),
    "gpt-2": _decoder("gpt2", _GPT, quick=True),
    "gpt-2, attention written out": _decoder("gpt2", {**_GPT, "attn_implementation": "eager"}),
    "gpt big code": _decoder("gpt_bigcode", _GPT),
    "gpt-j": _decoder("gptj", {**_GPT, "rotary_dim": 8}, quick=True),
    "gpt neo": _decoder(
        "gpt_neo",
        {"hidden_size": 64, "num_layers": 2, "num_heads": 4, "vocab_size": VOCABULARY,
         "attention_types": [[["global", "local"], 1]], "window_size": 8, "use_cache": False},
    ),
    "gpt-neox": _decoder("gpt_neox", _SMALL, quick=True),
    "gpt-oss": _decoder("gpt_oss", {**_EXPERTS, "num_local_experts": 4, "sliding_window": 8}),
    "granite": _decoder("granite", _FEW_KEYS),
    "granite of experts": _decoder("granitemoe", {**_EXPERTS, "num_local_experts": 4}),
    "helium": _decoder("helium", _FEW_KEYS),
    "jetmoe": _decoder("jetmoe", {**_FEW_KEYS, "kv_channels": 16, "num_local_experts": 4}),
    "lfm 2": _decoder("lfm2", {**_FEW_KEYS, "layer_types": ["conv", "full_attention"]}),
    "llama": _decoder("llama", _FEW_KEYS, quick=True),
    "llama, attention written out": _decoder(
        "llama", {**_FEW_KEYS, "attn_implementation": "eager"}
    ),
    "mamba": Case("mamba", {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8,
                            "vocab_size": VOCABULARY, "use_cache": False}, ids, _LM),
    "mistral": _decoder("mistral", {**_FEW_KEYS, "sliding_window": 8}),
    "mixtral": _decoder("mixtral", {**_EXPERTS, "num_local_experts": 4}),
    "modernbert decoder": _decoder("modernbert-decoder", {**_SMALL, "pad_token_id": 0}),
    "mpt": _decoder(
        "mpt", {"d_model": 64, "n_heads": 4, "n_layers": 2, "vocab_size": VOCABULARY,
                "use_cache": False}
    ),
    "nemotron": _decoder("nemotron", _FEW_KEYS),
    "olmo": _decoder("olmo", _FEW_KEYS),
    "olmo 2": _decoder("olmo2", _FEW_KEYS),
    "olmoe": _decoder("olmoe", {**_EXPERTS, "num_experts": 4}),
    "opt": _decoder(
        "opt", {**_SMALL, "ffn_dim": 96, "word_embed_proj_dim": 64, "pad_token_id": 1}
    ),
    "persimmon": _decoder("persimmon", _SMALL),
    "phi": _decoder("phi", _SMALL),
    "phi 3": _decoder("phi3", _FEW_KEYS),
    "phi of experts": _decoder("phimoe", {**_EXPERTS, "num_local_experts": 4}),
    "qwen 2": _decoder("qwen2", _FEW_KEYS),
    "qwen 2 of experts": _decoder(
        "qwen2_moe", {**_EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 32}
    ),
    "qwen 3": _decoder("qwen3", _FEW_KEYS),
    "qwen 3 of experts": _decoder("qwen3_moe", {**_EXPERTS, "num_experts": 4}),
    "recurrent gemma": _decoder("recurrent_gemma", {**_FEW_KEYS, "attention_window_size": 8}),
    "seed": _decoder("seed_oss", _FEW_KEYS),
    "smollm 3": _decoder("smollm3", _FEW_KEYS),
    "stablelm": _decoder("stablelm", _FEW_KEYS),
    "starcoder 2": _decoder("starcoder2", _FEW_KEYS),
    "xglm": _decoder(
        "xglm", {"d_model": 64, "num_layers": 2, "attention_heads": 4, "ffn_dim": 96,
                 "vocab_size": VOCABULARY, "use_cache": False}
    ),
}  # fmt: skip


def _with_cache(model: nn.Module, inputs: Inputs) -> Inputs:
    """The call that writes one more word, given what was computed of those before."""
    words, mask = inputs["input_ids"], inputs["attention_mask"]
    seen = {"input_ids": words[:, :-1], "attention_mask": mask[:, :-1]}
    with torch.no_grad():
        outputs = model(**seen, use_cache=True)
    name, cache = next((k, v) for k, v in outputs.items() if isinstance(v, Cache))
    last = {"input_ids": words[:, -1:].contiguous(), "attention_mask": mask}
    return {**last, name: cache, "use_cache": True}


def _caching(name: str, *, begun: bool) -> Case:
    """A call that returns a cache, and takes one if the text has begun."""
    case = _PLAIN[name]
    options = {**case.options, "use_cache": True}
    if "sliding_window" in options:
        options["sliding_window"] = 32
    return replace(
        case, options=options, after=_with_cache if begun else None, quick=begun and name == "llama"
    )


_CACHING = (
    "bloom", "gemma", "gemma 3", "gpt-2", "gpt-j", "gpt-neox", "llama", "opt", "phi", "qwen 3",
)  # fmt: skip
_BEGUN = {name: _caching(name, begun=True) for name in _CACHING}
_FIRST = {name: _caching(name, begun=False) for name in ("gemma 3", "gpt-2", "llama")}
DECODERS = {
    **_PLAIN,
    **{f"{name}, one more word": case for name, case in _BEGUN.items()},
    **{f"{name}, filling a cache": case for name, case in _FIRST.items()},
}
