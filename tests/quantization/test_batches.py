"""Texts become inputs that a model takes, as often as they are asked for."""

import pytest
import torch
from transformers import BatchEncoding

from deepseek.data.sample import Record
from deepseek.errors import InputError
from deepseek.quantization.batches import TextBatches, given_batches


def batches(model, tokenizer, texts, labels=None, *, size=4, max_length=None):
    records = [Record(text, None, f"a.txt:{line}") for line, text in enumerate(texts, 1)]
    return TextBatches(records=records, labels=labels, tokenizer=tokenizer, model=model, size=size,
                       max_length=max_length)  # fmt: skip


def test_every_text_once_short_ones_first(tiny, tokenizer, sentences):
    texts = sentences(10)
    found = batches(tiny("BertModel"), tokenizer, texts, list(range(10)))
    assert len(found) == 3
    for _ in range(2):
        walked = list(found)
        assert [len(batch) for batch in walked] == [4, 4, 2]
        order = [label for batch in walked for label in batch.labels.tolist()]
        assert sorted(order) == list(range(10))
        lengths = [n for b in walked for n in b.inputs["attention_mask"].sum(1).tolist()]
        assert lengths == [len(texts[i].split()) + 2 for i in order]


def test_only_what_the_model_takes(tiny, tokenizer):
    bert = next(iter(batches(tiny("BertModel"), tokenizer, ["w1 w2"])))
    llama = next(iter(batches(tiny("LlamaForCausalLM"), tokenizer, ["w1 w2"])))
    assert set(llama.inputs) == {"input_ids", "attention_mask"}
    assert set(bert.inputs) >= {"input_ids", "attention_mask"}
    t5 = next(iter(batches(tiny("T5ForConditionalGeneration"), tokenizer, ["w1 w2"])))
    assert torch.equal(t5.inputs["decoder_input_ids"], t5.inputs["input_ids"])


@pytest.mark.parametrize(
    ("name", "changes", "max_length", "expected"),
    [
        ("BertModel", {}, None, 40),
        ("BertModel", {}, 7, 7),
        ("BertModel", {}, 4000, 40),
        ("BertModel", {"max_position_embeddings": 12}, None, 12),
        ("RobertaForSequenceClassification", {}, None, 39),  # its table keeps rows for padding
        ("T5ForConditionalGeneration", {}, None, 40),  # the tokenizer's limit alone
    ],
)
def test_long_texts_are_cut_to_what_the_model_takes(
    tiny, tokenizer, name, changes, max_length, expected
):
    model = tiny(name, **changes)
    batch = next(iter(batches(model, tokenizer, ["w1 " * 500], max_length=max_length)))
    assert batch.inputs["input_ids"].shape == (1, expected)
    model(**batch.inputs)


def test_a_tokenizer_without_limits(tiny, tokenizer):
    tokenizer.model_max_length = int(1e30)
    model = tiny("T5ForConditionalGeneration")
    batch = next(iter(batches(model, tokenizer, ["w1 " * 100])))
    assert batch.inputs["input_ids"].shape == (1, 102)


def test_without_a_padding_token_texts_go_one_by_one(tiny, tokenizer, sentences):
    tokenizer.pad_token = None
    found = batches(tiny("LlamaForCausalLM"), tokenizer, sentences(3))
    assert [len(batch) for batch in found] == [1, 1, 1]
    assert len(found) == 3


def test_the_tokenizer_of_another_model(tiny, tokenizer):
    found = batches(tiny("BertModel", vocab_size=30), tokenizer, ["w1 w2", "w3 w59"])
    with pytest.raises(InputError, match=r"expected tokens below 30, .* gives 63"):
        list(found)


def test_given_batches_take_the_labels_out():
    ids, labels = torch.zeros(2, 3), torch.tensor([0, 1])
    plain, encoded = given_batches([{"ids": ids, "labels": labels}, BatchEncoding({"ids": ids})])
    assert plain.labels is labels
    assert set(plain.inputs) == {"ids"}
    assert encoded.labels is None
    assert len(encoded) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [([], "found none"), ([torch.zeros(2)], "found Tensor"), ([{"ids": [1]}], "mappings of tens")],
)
def test_given_batches_that_are_none(given, message):
    with pytest.raises(InputError, match=message):
        given_batches(given)
