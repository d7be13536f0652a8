"""Which metric fits a model and its data.

Told by the outputs: class logits with labels give accuracy, without them agreement; logits for
every token give the accuracy of the next token where the model writes text, else agreement; one
number gives the correlation of ranks with the labels; hidden states give the cosine of the mean of
a text's token vectors. Others that fit can be asked for by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from deepseek.errors import InputError
from deepseek.quantization.metrics import decisions, numbers
from deepseek.quantization.metrics.metric import Metric
from deepseek.quantization.metrics.outputs import Kind, kind_of

__all__ = ["METRIC_NAMES", "choose_metric"]

METRIC_NAMES = ("auto", "accuracy", "next_token_accuracy", "f1", "spearman", "agreement", "cosine",
                "kl", "perplexity")  # fmt: skip

# The metrics of each kind of output, the usual one first: with labels, and those without.
_WITH_LABELS: Mapping[Kind, Sequence[Metric]] = {
    "classes": (decisions.ACCURACY, decisions.F1),
    "a score": (numbers.SPEARMAN,),
}
_WITHOUT: Mapping[Kind, Sequence[Metric]] = {
    "classes": (decisions.AGREEMENT, numbers.KL, numbers.CLASS_COSINE),
    "label sets": (decisions.LABEL_SETS, numbers.CLASS_COSINE),
    "a score": (),
    "next tokens": (decisions.NEXT_TOKEN, numbers.PERPLEXITY, decisions.NEXT_TOKEN_AGREEMENT,
                    numbers.TOKEN_KL),
    "tokens": (decisions.TOKENS, numbers.TOKEN_KL),
    "states": (numbers.COSINE,),
}  # fmt: skip


def choose_metric(
    model: nn.Module, outputs: Any, *, labelled: bool, wanted: str = "auto"
) -> Metric:
    """The metric for a model, from its outputs on a batch.

    Args:
        model: Its class and configuration tell what the outputs mean.
        outputs: Of one batch.
        labelled: Whether the data has labels.
        wanted: The name of one, or ``auto``.

    Raises:
        InputError: The outputs are of no kind that can be compared, or the wanted metric does not
            fit them or the data.
    """
    kind = kind_of(model, outputs)
    with_labels = _WITH_LABELS.get(kind, ())
    usable = {metric.name: metric for metric in _WITHOUT[kind]}
    if labelled:
        usable = {metric.name: metric for metric in with_labels} | usable
    if wanted in usable:
        return usable[wanted]
    if wanted != "auto":
        needs = " with labels" if wanted in {metric.name for metric in with_labels} else ""
        raise InputError(
            f"expected a metric that fits a model that tells {kind}{needs} "
            f"({', '.join(usable) or 'none without labels'}), got {wanted!r}"
        )
    if not usable:
        raise InputError(
            "expected labels for a head with one output, found none: "
            "there is no decision whose loss could be measured",
            hint="quantize the encoder without its head; embeddings are compared by their cosine",
        )
    return next(iter(usable.values()))
