"""BERT and RoBERTa, whose encoders have the same names."""

import re

from deepseek.formats.architectures.family import Draft, Family, Head, heads_of_width
from deepseek.formats.architectures.shapes import Differs, Shapes

__all__ = ["BERT", "ROBERTA"]

_LANDMARKS = (
    "embeddings.word_embeddings.weight",
    "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings.weight",
    "embeddings.LayerNorm.weight",
    "encoder.layer.0.attention.self.query.weight",
    "encoder.layer.0.attention.output.dense.weight",
    "encoder.layer.0.intermediate.dense.weight",
    "encoder.layer.0.output.dense.weight",
)
_PARTS = ("embeddings", "encoder", "pooler")
_OLD_NORM = re.compile(r"LayerNorm\.(gamma|beta)$")
_NEW_NORM = {"gamma": "LayerNorm.weight", "beta": "LayerNorm.bias"}


def _modern(name: str) -> str:
    return _OLD_NORM.sub(lambda match: _NEW_NORM[match[1]], name)


def _encoder(shapes: Shapes, title: str) -> Draft:
    if "encoder.layer.0.attention.self.distance_embedding.weight" in shapes:
        raise Differs("relative position embeddings")
    if "encoder.layer.0.crossattention.self.query.weight" in shapes:
        raise Differs("cross attention")
    vocab, hidden = shapes.of("embeddings.word_embeddings.weight", 2)
    heads, note = heads_of_width(hidden, title)
    return Draft(
        config={
            "vocab_size": vocab,
            "hidden_size": hidden,
            "num_hidden_layers": shapes.count("encoder.layer."),
            "num_attention_heads": heads,
            "intermediate_size": shapes.rows("encoder.layer.0.intermediate.dense.weight"),
            "max_position_embeddings": shapes.rows("embeddings.position_embeddings.weight"),
            "type_vocab_size": shapes.rows("embeddings.token_type_embeddings.weight"),
        },
        notes=[note],
    )


def _bert(shapes: Shapes) -> Draft:
    if shapes.outside("lm_head.dense.weight") or shapes.outside("classifier.out_proj.weight"):
        raise Differs("a head as RoBERTa has it")
    draft = _encoder(shapes, "BERT")
    if draft.config["type_vocab_size"] == 1 and draft.config["max_position_embeddings"] % 64 == 2:
        raise Differs("one token type and two spare positions, as RoBERTa has")
    return draft


def _roberta(shapes: Shapes) -> Draft:
    if shapes.outside("cls.predictions.transform.dense.weight"):
        raise Differs("a head as BERT has it")
    draft = _encoder(shapes, "RoBERTa")
    draft.config |= {
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    return draft


BERT = Family(
    title="BERT",
    model_type="bert",
    base="bert",
    parts=_PARTS,
    landmarks=_LANDMARKS,
    draft=_bert,
    canonical=_modern,
    heads=(
        Head(
            architecture="BertForPreTraining",
            needs=("cls.predictions.transform.dense.weight", "cls.seq_relationship.weight"),
        ),
        Head(
            architecture="BertForMaskedLM",
            needs=("cls.predictions.transform.dense.weight",),
            spare=("bert.pooler.",),
        ),
        Head(
            architecture="BertForNextSentencePrediction",
            needs=("cls.seq_relationship.weight",),
        ),
        Head(
            architecture="BertForQuestionAnswering",
            needs=("qa_outputs.weight",),
            spare=("bert.pooler.",),
        ),
        Head(
            architecture="BertForSequenceClassification",
            needs=("classifier.weight", "bert.pooler.dense.weight"),
            labels="classifier.weight",
        ),
        Head(
            architecture="BertForTokenClassification",
            needs=("classifier.weight",),
            labels="classifier.weight",
        ),
        Head(architecture="BertModel", optional=("bert.pooler.dense.weight", "add_pooling_layer")),
    ),
)

ROBERTA = Family(
    title="RoBERTa",
    model_type="roberta",
    base="roberta",
    parts=_PARTS,
    landmarks=_LANDMARKS,
    draft=_roberta,
    canonical=_modern,
    heads=(
        Head(
            architecture="RobertaForMaskedLM",
            needs=("lm_head.dense.weight",),
            spare=("roberta.pooler.",),
        ),
        Head(
            architecture="RobertaForSequenceClassification",
            needs=("classifier.out_proj.weight",),
            labels="classifier.out_proj.weight",
            spare=("roberta.pooler.",),
        ),
        Head(
            architecture="RobertaForQuestionAnswering",
            needs=("qa_outputs.weight",),
            spare=("roberta.pooler.",),
        ),
        Head(
            architecture="RobertaForMultipleChoice",
            needs=("classifier.weight", "roberta.pooler.dense.weight"),
        ),
        Head(
            architecture="RobertaForTokenClassification",
            needs=("classifier.weight",),
            labels="classifier.weight",
        ),
        Head(
            architecture="RobertaModel",
            optional=("roberta.pooler.dense.weight", "add_pooling_layer"),
        ),
    ),
)
