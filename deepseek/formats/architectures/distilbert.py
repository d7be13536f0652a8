"""DistilBERT."""

from deepseek.formats.architectures.family import Draft, Family, Head, heads_of_width
from deepseek.formats.architectures.shapes import Shapes

__all__ = ["DISTILBERT"]


def _draft(shapes: Shapes) -> Draft:
    vocab, hidden = shapes.of("embeddings.word_embeddings.weight", 2)
    heads, note = heads_of_width(hidden, "DistilBERT")
    return Draft(
        config={
            "vocab_size": vocab,
            "dim": hidden,
            "n_layers": shapes.count("transformer.layer."),
            "n_heads": heads,
            "hidden_dim": shapes.rows("transformer.layer.0.ffn.lin1.weight"),
            "max_position_embeddings": shapes.rows("embeddings.position_embeddings.weight"),
        },
        notes=[note],
    )


DISTILBERT = Family(
    title="DistilBERT",
    model_type="distilbert",
    base="distilbert",
    parts=("embeddings", "transformer"),
    landmarks=(
        "embeddings.word_embeddings.weight",
        "embeddings.position_embeddings.weight",
        "embeddings.LayerNorm.weight",
        "transformer.layer.0.attention.q_lin.weight",
        "transformer.layer.0.attention.out_lin.weight",
        "transformer.layer.0.sa_layer_norm.weight",
        "transformer.layer.0.ffn.lin1.weight",
        "transformer.layer.0.output_layer_norm.weight",
    ),
    draft=_draft,
    heads=(
        Head(architecture="DistilBertForMaskedLM", needs=("vocab_transform.weight",)),
        Head(
            architecture="DistilBertForSequenceClassification",
            needs=("pre_classifier.weight", "classifier.weight"),
            labels="classifier.weight",
        ),
        Head(architecture="DistilBertForQuestionAnswering", needs=("qa_outputs.weight",)),
        Head(
            architecture="DistilBertForTokenClassification",
            needs=("classifier.weight",),
            labels="classifier.weight",
        ),
        Head(architecture="DistilBertModel"),
    ),
)
