"""GGUF of the Llama family: names, configuration and row order as transformers has them."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

__all__ = ["hugging_face_config", "hugging_face_name", "hugging_face_rows"]

_MODEL_TYPES = {"llama": "llama", "mistral": "mistral", "qwen2": "qwen2", "qwen3": "qwen3"}
_CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
_TOP = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_IN_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LAYER_NAME = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
_TOP_NAME = re.compile(r"(\w+)\.(weight|bias)")
_WIDTH, _HEADS = "embedding_length", "attention.head_count"
_SIZES = {
    "hidden_size": _WIDTH,
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": _HEADS,
    "max_position_embeddings": "context_length",
}
_TOKENS = {
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
}


def hugging_face_name(name: str) -> str | None:
    """The name transformers gives a tensor of the Llama family; None when it has none."""
    match = _LAYER_NAME.fullmatch(name)
    if match and match[2] in _IN_LAYER:
        return f"model.layers.{match[1]}.{_IN_LAYER[match[2]]}.{match[3]}"
    match = _TOP_NAME.fullmatch(name)
    if match and match[1] in _TOP:
        return f"{_TOP[match[1]]}.{match[2]}"
    return None


def hugging_face_config(
    metadata: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    rope_factors: Sequence[float] | None,
) -> dict[str, Any] | None:
    """The configuration of a model of the Llama family; None for any other.

    Args:
        metadata: Keys of the file.
        shapes: Sizes of its weights, under their names in the file.
        rope_factors: What the file divides the frequencies of the position embedding by.
    """
    kind = str(metadata.get("general.architecture"))
    if kind not in _MODEL_TYPES or any(hugging_face_name(name) is None for name in shapes):
        return None
    own = {key.removeprefix(f"{kind}."): value for key, value in metadata.items()}
    if own.get("rope.scaling.type", "none") != "none":
        return None
    config = {ours: own.get(theirs) for ours, theirs in _SIZES.items()}
    config["num_key_value_heads"] = own.get("attention.head_count_kv", own.get(_HEADS))
    if not all(isinstance(value, int) and value > 0 for value in config.values()):
        return None
    config["head_dim"] = own.get("attention.key_length", own[_WIDTH] // own[_HEADS])
    rope = _rope(own.get("rope.freq_base", 10000.0), rope_factors)
    if rope is None or not _heads_fit(config, shapes):
        return None
    config |= {
        "model_type": _MODEL_TYPES[kind],
        "architectures": [_CLASSES[kind]],
        "vocab_size": shapes["token_embd.weight"][0],
        "rms_norm_eps": own.get("attention.layer_norm_rms_epsilon", 1e-5),
        "rope_parameters": rope,
        "tie_word_embeddings": "output.weight" not in shapes,
        **{token: metadata[key] for token, key in _TOKENS.items() if key in metadata},
    }
    if kind in ("llama", "mistral"):
        config["attention_bias"] = "blk.0.attn_q.bias" in shapes
    return config


def _rope(theta: object, factors: Sequence[float] | None) -> dict[str, Any] | None:
    """How positions turn queries and keys; None where it cannot be told."""
    if not isinstance(theta, int | float) or not theta > 0:
        return None
    if factors is None:
        return {"rope_type": "default", "rope_theta": theta}
    scaling = _llama3_scaling(factors, theta)
    return None if scaling is None else {**scaling, "rope_theta": theta}


def _heads_fit(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether every projection has the rows that the numbers of heads promise."""
    wanted = {
        "attn_q.weight": (config["num_attention_heads"], config["head_dim"]),
        "attn_k.weight": (config["num_key_value_heads"], config["head_dim"]),
    }
    return "token_embd.weight" in shapes and all(
        isinstance(heads, int) and isinstance(width, int) and shape[:1] == (heads * width,)
        for name, shape in shapes.items()
        for ending, (heads, width) in wanted.items()
        if name.endswith(ending)
    )


def _llama3_scaling(factors: Sequence[float], theta: float) -> dict[str, Any] | None:
    """The scaling of Llama 3.1 and later, if the factors are those it gives; None otherwise.

    Source: the rope type ``llama3`` of transformers, with the constants of Meta's models.
    """
    low, high, context, factor = 1.0, 4.0, 8192, max(factors, default=1.0)
    for index, found in enumerate(factors):
        turns = context / (2 * math.pi * theta ** (index / len(factors)))
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        expected = 1 / ((1 - smooth) / factor + smooth)
        if not math.isclose(found, expected, rel_tol=1e-3):
            return None
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": context,
    }


def hugging_face_rows(name: str, tensor: torch.Tensor, config: Mapping[str, Any]) -> torch.Tensor:
    """The rows of a tensor in transformers' order.

    GGUF stores the query and key rows of Llama with the halves of each rotated pair side by side,
    transformers with one half of a head after the other.

    Args:
        name: The name in the file.
        tensor: ``[heads * head_dim, ...]``.
        config: From ``hugging_face_config``.
    """
    match = _LAYER_NAME.fullmatch(name)
    if config["model_type"] not in ("llama", "mistral") or match is None:
        return tensor
    counts = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
    if match[2] not in counts:
        return tensor
    heads = config[counts[match[2]]]
    paired = tensor.reshape(heads, tensor.shape[0] // heads // 2, 2, *tensor.shape[1:])
    return paired.transpose(1, 2).reshape(tensor.shape)
