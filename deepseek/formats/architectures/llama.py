"""Llama and the models computed like it: Mistral, Qwen 2 and Qwen 3."""

from deepseek.formats.architectures.family import Draft, Family, Head
from deepseek.formats.architectures.shapes import Differs, Shapes

__all__ = ["LLAMA", "MISTRAL", "QWEN2", "QWEN3"]

_LANDMARKS = (
    "embed_tokens.weight",
    "layers.0.self_attn.q_proj.weight",
    "layers.0.self_attn.k_proj.weight",
    "layers.0.self_attn.o_proj.weight",
    "layers.0.mlp.gate_proj.weight",
    "layers.0.mlp.down_proj.weight",
    "layers.0.input_layernorm.weight",
    "layers.0.post_attention_layernorm.weight",
    "norm.weight",
)
_PARTS = ("embed_tokens", "layers", "norm", "rotary_emb")
_BIASED = "layers.0.self_attn.q_proj.bias"
_HEAD_NORM = "layers.0.self_attn.q_norm.weight"
_FREQUENCIES = ("rotary_emb.inv_freq", "layers.0.self_attn.rotary_emb.inv_freq")
_GEMMA_VOCABULARIES = (256_000, 256_128, 262_144, 262_208)
_MISTRAL_VOCABULARY = 32_768
_MISTRAL_FIRST = (32_000, 14_336)  # vocabulary and feed-forward width of the first versions
_WIDE = 3072  # published models from this width on have heads of 128, most smaller ones of 64

# What published models with a vocabulary of that size use, beyond the defaults of transformers.
_LLAMA_2 = {"rope_theta": 10_000.0, "rms_norm_eps": 1e-5}
_BY_VOCABULARY = {
    32_000: ("Llama 2", {**_LLAMA_2, "max_position_embeddings": 4096}),
    32_768: ("Mistral", {**_LLAMA_2, "rope_theta": 1e6, "max_position_embeddings": 32_768}),
    128_256: ("Llama 3", {**_LLAMA_2, "rope_theta": 5e5, "max_position_embeddings": 8192}),
    151_936: ("Qwen", {"rope_theta": 1e6, "max_position_embeddings": 32_768}),
    152_064: ("Qwen", {"rope_theta": 1e6, "max_position_embeddings": 32_768}),
}
_OTHERWISE = ("Llama", {"rope_theta": 10_000.0, "rms_norm_eps": 1e-6})


def _decoder(shapes: Shapes) -> Draft:
    vocab, hidden = shapes.of("embed_tokens.weight", 2)
    if "layers.0.pre_feedforward_layernorm.weight" in shapes:
        raise Differs("norms before and after each part, as Gemma 2 has")
    if vocab in _GEMMA_VOCABULARIES:
        raise Differs(f"a vocabulary of {vocab}, as Gemma has, whose norms differ")
    head, head_note = _head_width(shapes, hidden)
    queries, keys = (shapes.rows(f"layers.0.self_attn.{name}_proj.weight") for name in "qk")
    if queries % head or keys % head:
        raise Differs(f"projections of {queries} and {keys} rows, no multiples of {head}")
    published, settings = _BY_VOCABULARY.get(vocab, _OTHERWISE)
    rope = settings["rope_theta"]
    config = {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_hidden_layers": shapes.count("layers."),
        "num_attention_heads": queries // head,
        "num_key_value_heads": keys // head,
        "head_dim": head,
        "intermediate_size": shapes.rows("layers.0.mlp.gate_proj.weight"),
        "tie_word_embeddings": shapes.shared("lm_head.weight"),
        **settings,
    }
    note = (
        f"assumed a rope_theta of {rope:g} and the other settings of {published}, which has a "
        f"vocabulary of {vocab}: --model_config settles it"
        if published != _OTHERWISE[0]
        else f"assumed a rope_theta of {rope:g} and Llama's defaults: --model_config settles it"
    )
    theta = _theta(shapes, head)
    if theta is not None:
        config["rope_theta"] = theta
        note = f"the frequencies in the file give a rope_theta of {theta:g}; the rest is assumed"
    return Draft(config=config, notes=[*head_note, note])


def _head_width(shapes: Shapes, hidden: int) -> tuple[int, list[str]]:
    if _HEAD_NORM in shapes:
        return shapes.of(_HEAD_NORM, 1)[0], []
    for name in _FREQUENCIES:
        if name in shapes:
            return 2 * shapes.of(name, 1)[0], []
    queries, keys = (shapes.rows(f"layers.0.self_attn.{name}_proj.weight") for name in "qk")
    wanted = 128 if hidden >= _WIDE else 64
    widths = (wanted, 64, 32, 16, 8, keys)
    width = next(width for width in widths if queries % width == 0 and keys % width == 0)
    note = (
        f"assumed attention heads of {width}, as models of width {hidden} usually have: shapes do "
        "not tell, --model_config settles it"
    )
    return width, [note]


def _theta(shapes: Shapes, head: int) -> float | None:
    """The base of the position embedding, from frequencies ``theta ** (-2 i / head)``."""
    for name in _FREQUENCIES:
        frequencies = shapes.values(name)
        if frequencies is not None and len(frequencies) > 1 and frequencies[1] > 0:
            return float(round(frequencies[1] ** (-head / 2)))
    return None


def _llama(shapes: Shapes) -> Draft:
    if _BIASED in shapes and "layers.0.self_attn.o_proj.bias" not in shapes:
        raise Differs("biases of queries, keys and values alone, as Qwen 2 has")
    if _HEAD_NORM in shapes:
        raise Differs("norms of queries and keys, as Qwen 3 has")
    draft = _decoder(shapes)
    draft.config["attention_bias"] = _BIASED in shapes
    draft.config["mlp_bias"] = "layers.0.mlp.gate_proj.bias" in shapes
    return draft


def _mistral(shapes: Shapes) -> Draft:
    if _BIASED in shapes or _HEAD_NORM in shapes:
        raise Differs("biases or norms of queries and keys")
    draft = _decoder(shapes)
    form = draft.config["vocab_size"], draft.config["intermediate_size"]
    if form[0] != _MISTRAL_VOCABULARY and form != _MISTRAL_FIRST:
        raise Differs("sizes of no published Mistral; Llama has the same names")
    draft.config |= {"sliding_window": None}
    draft.notes.append(
        "assumed no sliding window, which the first Mistral had: --model_config settles it"
    )
    return draft


def _qwen2(shapes: Shapes) -> Draft:
    if _BIASED not in shapes or "layers.0.self_attn.o_proj.bias" in shapes:
        raise Differs(f"expected {_BIASED} and none for the output")
    if _HEAD_NORM in shapes:
        raise Differs("norms of queries and keys, as Qwen 3 has")
    draft = _decoder(shapes)
    del draft.config["head_dim"]
    return draft


def _qwen3(shapes: Shapes) -> Draft:
    shapes.of(_HEAD_NORM, 1)
    draft = _decoder(shapes)
    draft.config["attention_bias"] = _BIASED in shapes
    return draft


def _heads(name: str) -> tuple[Head, ...]:
    return (
        Head(
            architecture=f"{name}ForSequenceClassification",
            needs=("score.weight",),
            labels="score.weight",
            note="classification needs the padding token of the tokenizer: --model_config names it",
        ),
        Head(architecture=f"{name}ForCausalLM", needs=("lm_head.weight",)),
        Head(
            architecture=f"{name}ForCausalLM",
            prefixed=True,
            config=(("tie_word_embeddings", True),),
            note="no lm_head.weight: assumed a language model whose head is its embedding",
        ),
        Head(architecture=f"{name}Model"),
    )


LLAMA = Family(
    title="Llama",
    model_type="llama",
    base="model",
    parts=_PARTS,
    landmarks=_LANDMARKS,
    draft=_llama,
    heads=_heads("Llama"),
)
MISTRAL = Family(
    title="Mistral",
    model_type="mistral",
    base="model",
    parts=_PARTS,
    landmarks=_LANDMARKS,
    draft=_mistral,
    heads=_heads("Mistral"),
)
QWEN2 = Family(
    title="Qwen 2",
    model_type="qwen2",
    base="model",
    parts=_PARTS,
    landmarks=(*_LANDMARKS, _BIASED),
    draft=_qwen2,
    heads=_heads("Qwen2"),
)
QWEN3 = Family(
    title="Qwen 3",
    model_type="qwen3",
    base="model",
    parts=_PARTS,
    landmarks=(*_LANDMARKS, _HEAD_NORM),
    draft=_qwen3,
    heads=_heads("Qwen3"),
)
