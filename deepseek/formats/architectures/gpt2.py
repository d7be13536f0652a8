"""GPT-2."""

from deepseek.formats.architectures.family import Draft, Family, Head, heads_of_width
from deepseek.formats.architectures.shapes import Differs, Shapes

__all__ = ["GPT2"]


def _draft(shapes: Shapes) -> Draft:
    vocab, hidden = shapes.of("wte.weight", 2)
    if shapes.of("h.0.attn.c_attn.weight", 2) != (hidden, 3 * hidden):
        raise Differs("h.0.attn.c_attn.weight holds no three projections side by side")
    if "h.0.crossattention.c_attn.weight" in shapes:
        raise Differs("cross attention")
    heads, note = heads_of_width(hidden, "GPT-2")
    last = vocab - 1
    return Draft(
        config={
            "vocab_size": vocab,
            "n_positions": shapes.rows("wpe.weight"),
            "n_embd": hidden,
            "n_layer": shapes.count("h."),
            "n_head": heads,
            "n_inner": shapes.columns("h.0.mlp.c_fc.weight"),
            "bos_token_id": min(50256, last),
            "eos_token_id": min(50256, last),
        },
        notes=[note],
    )


GPT2 = Family(
    title="GPT-2",
    model_type="gpt2",
    base="transformer",
    parts=("wte", "wpe", "h", "ln_f"),
    landmarks=(
        "wte.weight",
        "wpe.weight",
        "h.0.ln_1.weight",
        "h.0.attn.c_attn.weight",
        "h.0.attn.c_proj.weight",
        "h.0.mlp.c_fc.weight",
        "ln_f.weight",
    ),
    draft=_draft,
    heads=(
        Head(
            architecture="GPT2ForSequenceClassification",
            needs=("score.weight",),
            labels="score.weight",
            note="classification needs the padding token of the tokenizer: --model_config names it",
        ),
        Head(
            architecture="GPT2ForTokenClassification",
            needs=("classifier.weight",),
            labels="classifier.weight",
        ),
        Head(architecture="GPT2ForQuestionAnswering", needs=("qa_outputs.weight",)),
        Head(architecture="GPT2LMHeadModel", needs=("lm_head.weight",)),
        Head(
            architecture="GPT2LMHeadModel",
            prefixed=True,
            note="no lm_head.weight: assumed a language model whose head is its embedding",
        ),
        Head(architecture="GPT2Model"),
    ),
)
