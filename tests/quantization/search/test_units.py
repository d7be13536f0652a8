"""Models of which some units are quantized, and which modules belong to a unit."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from deepseek.nn.int8_linear import Int8Linear
from deepseek.quantization.batches import Batch
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.methods.dynamic_range import dynamic_range
from deepseek.quantization.search.units import Mixture, tensor_bytes, units_of


@pytest.fixture
def pair(tiny, inputs):
    model = tiny("BertForSequenceClassification")
    whole = dynamic_range(model, [Batch(inputs(model))], QuantizeConfig(), lambda *_: None)
    return model, whole


def in_int8(model):
    return {name for name, module in model.named_modules() if isinstance(module, Int8Linear)}


def test_every_layer_is_a_unit(pair):
    model, whole = pair
    units = units_of(model, whole)
    assert [unit.name for unit in units] == [layer.name for layer in whole.layers]
    saved = sum(unit.bytes_saved for unit in units)
    assert saved == tensor_bytes(model) - tensor_bytes(whole.model)


def test_modules_that_change_together_are_one_unit(pair):
    model, whole = pair
    block = "bert.encoder.layer.0.attention.self"
    norm = "bert.embeddings.LayerNorm"
    group = (norm, f"{block}.query", f"{block}.key", f"{block}.value")
    units = units_of(model, replace(whole, groups=[group]))
    assert units[0].name == f"{block}.query"
    assert units[0].layers == group[1:]
    assert units[0].modules == group
    assert len(units) == len(whole.layers) - 2
    whole.model.get_submodule(norm).weight = nn.Parameter(torch.full((48,), 2.0))
    mixture = Mixture(model, whole.model, units)
    assert mixture.quantize({f"{block}.query"}).get_submodule(norm).weight[0] == 2
    assert mixture.quantize(set()).get_submodule(norm).weight[0] == 1


def test_any_units_can_be_quantized_and_return(pair, inputs):
    model, whole = pair
    units = units_of(model, whole)
    mixture = Mixture(model, whole.model, units)
    names = [unit.name for unit in units]
    given = inputs(model)
    with torch.inference_mode():
        for chosen in ({names[0], names[5]}, {names[5]}, set(names), set()):
            mixed = mixture.quantize(chosen)
            assert in_int8(mixed) == chosen
        assert torch.equal(mixed(**given).logits, model(**given).logits)
        everything = mixture.quantize(set(names))
        assert torch.equal(everything(**given).logits, whole.model(**given).logits)
    assert in_int8(model) == set()
    assert in_int8(whole.model) == set(names)


def test_a_module_with_two_names_has_both_replaced():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.Sequential(shared))
    whole = dynamic_range(model, [Batch({"input": torch.randn(3, 4)})], QuantizeConfig(),
                          lambda *_: None)  # fmt: skip
    units = units_of(model, whole)
    assert len(units) == 1
    mixture = Mixture(model, whole.model, units)
    mixed = mixture.quantize({units[0].name})
    assert isinstance(mixed[0], Int8Linear)
    assert mixed[1][0] is mixed[0]
    assert type(mixture.quantize(set())[1][0]) is nn.Linear
