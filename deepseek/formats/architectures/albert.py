"""ALBERT, whose layers share one set of weights."""

from deepseek.formats.architectures.family import Draft, Family, Head, heads_of_width
from deepseek.formats.architectures.shapes import Shapes

__all__ = ["ALBERT"]

_GROUP = "encoder.albert_layer_groups."
_LAYER = f"{_GROUP}0.albert_layers."
_LAYERS = 12  # of every published model: base, large, xlarge and xxlarge differ in width
_LARGE_LAYERS = {1024: 24, 2048: 24}


def _draft(shapes: Shapes) -> Draft:
    vocab, embedding = shapes.of("embeddings.word_embeddings.weight", 2)
    hidden = shapes.rows("encoder.embedding_hidden_mapping_in.weight")
    heads, note = heads_of_width(hidden, "ALBERT")
    layers = _LARGE_LAYERS.get(hidden, _LAYERS)
    layers_note = (
        f"assumed version 2 with {layers} layers, as is usual for width {hidden}: all layers share "
        "their weights, --model_config settles it"
    )
    return Draft(
        config={
            "vocab_size": vocab,
            "embedding_size": embedding,
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_hidden_groups": shapes.count(_GROUP),
            "inner_group_num": shapes.count(_LAYER),
            "num_attention_heads": heads,
            "intermediate_size": shapes.rows(f"{_LAYER}0.ffn.weight"),
            "max_position_embeddings": shapes.rows("embeddings.position_embeddings.weight"),
            "type_vocab_size": shapes.rows("embeddings.token_type_embeddings.weight"),
        },
        notes=[note, layers_note],
    )


ALBERT = Family(
    title="ALBERT",
    model_type="albert",
    base="albert",
    parts=("embeddings", "encoder", "pooler"),
    landmarks=(
        "embeddings.word_embeddings.weight",
        "embeddings.position_embeddings.weight",
        "embeddings.token_type_embeddings.weight",
        "encoder.embedding_hidden_mapping_in.weight",
        f"{_LAYER}0.attention.query.weight",
        f"{_LAYER}0.attention.dense.weight",
        f"{_LAYER}0.full_layer_layer_norm.weight",
        f"{_LAYER}0.ffn.weight",
    ),
    draft=_draft,
    heads=(
        Head(
            architecture="AlbertForPreTraining",
            needs=("predictions.dense.weight", "sop_classifier.classifier.weight"),
        ),
        Head(
            architecture="AlbertForMaskedLM",
            needs=("predictions.dense.weight",),
            spare=("albert.pooler.",),
        ),
        Head(
            architecture="AlbertForQuestionAnswering",
            needs=("qa_outputs.weight",),
            spare=("albert.pooler.",),
        ),
        Head(
            architecture="AlbertForSequenceClassification",
            needs=("classifier.weight", "albert.pooler.weight"),
            labels="classifier.weight",
        ),
        Head(
            architecture="AlbertForTokenClassification",
            needs=("classifier.weight",),
            labels="classifier.weight",
        ),
        Head(architecture="AlbertModel", optional=("albert.pooler.weight", "add_pooling_layer")),
    ),
)
