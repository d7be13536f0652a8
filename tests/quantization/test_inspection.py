"""What passes through layers, and which is the first to go wrong."""

import pytest
import torch
from torch import nn

from deepseek.quantization.apply import plan_layers
from deepseek.quantization.batches import Batch
from deepseek.quantization.inspection import first_bad_layer, input_ranks


def test_ranks_of_a_classifier(tiny, inputs):
    model = tiny("BertForSequenceClassification")
    names = plan_layers(model).quantized
    ranks = input_ranks(model, names, Batch(inputs(model)))
    flat = {name for name, rank in ranks.items() if rank == 2}
    assert set(ranks) == set(names)
    assert flat == {"bert.pooler.dense", "classifier"}
    assert {ranks[name] for name in names if name not in flat} == {3}


def test_layers_that_do_not_run_have_no_rank():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.used(x)

    assert input_ranks(Half(), ["used", "unused"], Batch({"x": torch.zeros(2, 4)})) == {"used": 2}


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_the_first_layer_that_goes_wrong(tiny, inputs, value):
    model = tiny("BertForSequenceClassification")
    batch = Batch(inputs(model))
    assert first_bad_layer(model, batch) is None
    model.bert.encoder.layer[1].output.dense.bias.data[2] = value
    assert first_bad_layer(model, batch) == "bert.encoder.layer.1.output.dense"


def test_no_hook_stays_behind(tiny, inputs):
    model = tiny("BertForSequenceClassification")
    first_bad_layer(model, Batch(inputs(model)))
    input_ranks(model, plan_layers(model).quantized, Batch(inputs(model)))
    assert not any(module._forward_hooks for module in model.modules())
