"""T5 and its version 1.1, mT5 included, which has the same names."""

from deepseek.formats.architectures.family import Draft, Family, Head
from deepseek.formats.architectures.shapes import Differs, Shapes

__all__ = ["T5"]

_ATTENTION = "encoder.block.0.layer.0.SelfAttention"
_FEED_FORWARD = "encoder.block.0.layer.1.DenseReluDense"
_BUCKETS = f"{_ATTENTION}.relative_attention_bias.weight"


def _draft(shapes: Shapes) -> Draft:
    if "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight" in shapes:
        raise Differs("position biases in every layer, as UMT5 has")
    embedding = "shared.weight" if "shared.weight" in shapes else "encoder.embed_tokens.weight"
    vocab, width = shapes.of(embedding, 2)
    buckets, heads = shapes.of(_BUCKETS, 2)
    inner = shapes.rows(f"{_ATTENTION}.q.weight")
    if inner % heads:
        raise Differs(f"{inner} rows of queries for {heads} heads")
    gated = f"{_FEED_FORWARD}.wi_0.weight" in shapes
    layers = shapes.count("encoder.block.")
    has_decoder = "decoder.block.0.layer.0.layer_norm.weight" in shapes
    return Draft(
        config={
            "vocab_size": vocab,
            "d_model": width,
            "d_kv": inner // heads,
            "d_ff": shapes.rows(f"{_FEED_FORWARD}.{'wi_0' if gated else 'wi'}.weight"),
            "num_layers": layers,
            "num_decoder_layers": shapes.count("decoder.block.") if has_decoder else layers,
            "num_heads": heads,
            "relative_attention_num_buckets": buckets,
            "feed_forward_proj": "gated-gelu" if gated else "relu",
            "tie_word_embeddings": not gated,
        },
        notes=[
            "assumed "
            + ("version 1.1, whose head is not its embedding" if gated else "version 1.0 of T5")
            + ": --model_config settles it"
        ],
    )


T5 = Family(
    title="T5",
    model_type="t5",
    base="transformer",
    parts=("shared", "encoder", "decoder"),
    landmarks=(
        f"{_ATTENTION}.q.weight",
        f"{_ATTENTION}.o.weight",
        _BUCKETS,
        f"{_FEED_FORWARD}.wo.weight",
        "encoder.final_layer_norm.weight",
    ),
    draft=_draft,
    heads=(
        Head(
            architecture="T5ForSequenceClassification",
            needs=("classification_head.out_proj.weight",),
            labels="classification_head.out_proj.weight",
        ),
        Head(
            architecture="T5ForConditionalGeneration",
            needs=("lm_head.weight", "transformer.decoder.final_layer_norm.weight"),
        ),
        Head(
            architecture="T5ForConditionalGeneration",
            needs=("transformer.decoder.final_layer_norm.weight",),
            note="no lm_head.weight: assumed that the head is the embedding",
        ),
        Head(architecture="T5EncoderModel"),
    ),
)
