"""What is read off the outputs of two models, on outputs made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from deepseek.errors import InputError
from deepseek.quantization.batches import Batch
from deepseek.quantization.metrics import Scores, choose_metric, output_tensor


class LlamaForCausalLM(nn.Module):
    pass


class BertForTokens(nn.Module):
    pass


def logits(*classes, count=3):
    """Logits whose largest are the given classes."""
    return torch.nn.functional.one_hot(torch.tensor(classes), count).float()


def scores(model, before, after, batch, *, field="logits"):
    outputs = SimpleNamespace(**{field: before})
    metric = choose_metric(model, outputs, labelled=batch.labels is not None)
    return metric.name, metric.score(
        metric.predict(before, batch), metric.predict(after, batch), batch
    )


def test_accuracy_with_labels():
    batch = Batch({"input_ids": torch.zeros(4, 2)}, torch.tensor([0, 1, 2, 2]))
    name, found = scores(nn.Module(), logits(0, 1, 2, 0), logits(0, 1, 1, 2), batch)
    assert name == "accuracy"
    assert found.before.tolist() == [1, 1, 1, 0]
    assert found.after.tolist() == [1, 1, 0, 1]
    assert found.agreement.tolist() == [1, 1, 0, 0]


def test_agreement_without_labels():
    batch = Batch({"input_ids": torch.zeros(3, 2)})
    name, found = scores(nn.Module(), logits(0, 1, 2), logits(0, 2, 2), batch)
    assert name == "agreement"
    assert found.before.tolist() == [1, 1, 1]
    assert found.after.tolist() == found.agreement.tolist() == [1, 0, 1]


def test_agreement_of_label_sets():
    model = nn.Module()
    model.config = SimpleNamespace(problem_type="multi_label_classification")
    before = torch.tensor([[1.0, -1, 1], [1, 1, 1]])
    after = torch.tensor([[0.5, -2, 3], [1, -0.1, 1]])
    batch = Batch({"input_ids": torch.zeros(2, 2)}, torch.tensor([0, 1]))
    name, found = scores(model, before, after, batch)
    assert (name, found.agreement.tolist()) == ("agreement", [1, 0])


MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])


def test_agreement_of_tokens_leaves_padding_out():
    batch = Batch({"input_ids": torch.zeros(3, 4), "attention_mask": MASK})
    before = torch.stack([logits(0, 1, 2, 0)] * 3)
    after = torch.stack([logits(0, 1, 1, 0), logits(0, 2, 1, 1), logits(0, 2, 1, 1)])
    name, found = scores(BertForTokens(), before, after, batch)
    assert name == "agreement"
    assert found.agreement.tolist() == [0.75, 0.5, 1.0]


def test_next_token_accuracy_takes_the_text_for_labels():
    ids = torch.tensor([[0, 1, 2, 0], [1, 2, 0, 0], [2, 0, 0, 0]])
    batch = Batch({"input_ids": ids, "attention_mask": MASK})
    before = torch.stack([logits(1, 2, 0, 1), logits(2, 1, 1, 1), logits(1, 1, 1, 1)])
    after = torch.stack([logits(1, 2, 1, 1), logits(0, 1, 1, 1), logits(1, 1, 1, 1)])
    name, found = scores(LlamaForCausalLM(), before, after, batch)
    assert name == "next_token_accuracy"
    np.testing.assert_allclose(found.before, [1, 1, np.nan])
    np.testing.assert_allclose(found.after, [2 / 3, 0, np.nan])
    np.testing.assert_allclose(found.agreement, [2 / 3, 0, np.nan])
    joined = Scores.joined([found, found])
    assert len(joined.before) == 4  # the text of one token decides nothing


def test_cosine_of_mean_vectors_leaves_padding_out():
    before = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    after = before.clone()
    after[1, 2:] = 100  # padding
    after[2, 0] = -before[2, 0]
    batch = Batch({"input_ids": torch.zeros(3, 4), "attention_mask": MASK})
    name, found = scores(nn.Module(), before, after, batch, field="last_hidden_state")
    assert name == "cosine"
    np.testing.assert_allclose(found.after, [1, 1, -1], atol=1e-6)
    assert found.before.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            SimpleNamespace(boxes=torch.zeros(2, 4)),
            "logits or hidden states, found SimpleNamespace",
        ),
        (torch.zeros(2, 1), "head with one output, found none: there is no decision"),
        (torch.zeros(2, 3, 4, 4), "found 4"),
        (SimpleNamespace(last_hidden_state=torch.zeros(2, 3, 4, 4)), "found 4"),
    ],
)
def test_outputs_that_cannot_be_compared(outputs, message):
    with pytest.raises(InputError, match=message):
        choose_metric(nn.Module(), outputs, labelled=False)


def test_a_bare_tensor_is_an_output():
    tensor = torch.zeros(2, 3)
    assert output_tensor(tensor) is tensor
    assert choose_metric(nn.Module(), tensor, labelled=True).name == "accuracy"


@pytest.mark.parametrize(
    ("model", "shape", "labelled", "wanted"),
    [
        (nn.Module(), (4, 3), True, "f1"),
        (nn.Module(), (4, 3), True, "agreement"),
        (nn.Module(), (4, 3), False, "kl"),
        (nn.Module(), (4, 3), False, "cosine"),
        (nn.Module(), (4, 1), True, "spearman"),
        (LlamaForCausalLM(), (4, 5, 6), False, "perplexity"),
        (LlamaForCausalLM(), (4, 5, 6), False, "agreement"),
        (BertForTokens(), (4, 5, 6), False, "kl"),
    ],
)
def test_the_metric_that_is_asked_for(model, shape, labelled, wanted):
    outputs = SimpleNamespace(logits=torch.zeros(shape))
    assert choose_metric(model, outputs, labelled=labelled, wanted=wanted).name == wanted


def test_numbers_with_labels_are_held_against_them():
    assert choose_metric(nn.Module(), torch.zeros(4, 1), labelled=True).name == "spearman"


@pytest.mark.parametrize(
    ("shape", "labelled", "wanted", "message"),
    [
        ((4, 3), False, "accuracy", r"tells classes with labels \(agreement, kl, cosine\), got"),
        ((4, 3), True, "perplexity", r"tells classes \(accuracy, f1, agreement, kl, cosine\), got"),
        ((4, 1), False, "cosine", r"tells a score \(none without labels\), got 'cosine'"),
    ],
)
def test_metrics_that_do_not_fit(shape, labelled, wanted, message):
    with pytest.raises(InputError, match=message):
        choose_metric(nn.Module(), torch.zeros(shape), labelled=labelled, wanted=wanted)


def test_the_names_are_those_of_the_configuration():
    from typing import get_args, get_type_hints

    from deepseek.quantization.config import QuantizeConfig
    from deepseek.quantization.metrics import METRIC_NAMES

    assert get_args(get_type_hints(QuantizeConfig)["metric"]) == METRIC_NAMES
