"""Which norms feed linear layers alone, and that moving scales changes nothing."""

import pytest
import torch
from torch import nn

from deepseek.quantization.apply import plan_layers
from deepseek.quantization.batches import Batch
from deepseek.quantization.methods.folds import find_folds, folded_copy

FED = {
    "LlamaForSequenceClassification": {
        "model.layers.0.input_layernorm": ["q_proj", "k_proj", "v_proj"],
        "model.layers.0.post_attention_layernorm": ["gate_proj", "up_proj"],
    },
    "GPT2LMHeadModel": {"transformer.h.1.ln_1": ["c_attn"], "transformer.h.1.ln_2": ["c_fc"]},
    "ViTForImageClassification": {"vit.layers.0.layernorm_after": ["fc1"]},
}


def found(model, given):
    return find_folds(model, plan_layers(model).quantized, Batch(given))


@pytest.mark.parametrize("name", FED)
def test_norms_before_layers(tiny, inputs, name):
    model = tiny(name)
    folds = {fold.norm: [n.rsplit(".")[-1] for n in fold.layers]
             for fold in found(model, inputs(model))}  # fmt: skip
    for norm, layers in FED[name].items():
        assert folds[norm] == layers


def test_norms_that_feed_a_sum_too_stay(tiny, inputs):
    """BERT's norms come after the sum, and what they give goes into the next sum."""
    model = tiny("BertForSequenceClassification")
    assert found(model, inputs(model)) == []


class Net(nn.Module):
    def __init__(self, *, gives=False, one_more=False):
        super().__init__()
        self.norm = (OneMoreNorm if one_more else nn.LayerNorm)(8)
        self.first, self.second = nn.Linear(8, 4), nn.Linear(8, 4)
        self.gives = gives

    def forward(self, x):
        x = self.norm(x)
        y = self.first(x) + self.second(x).view(*x.shape[:-1], 4)
        return (y, [x]) if self.gives else y


class OneMoreNorm(nn.LayerNorm):
    def forward(self, x):
        return nn.functional.layer_norm(x, (8,)) * (1 + self.weight)


def test_what_the_model_gives_out_must_stay():
    x = {"x": torch.randn(2, 8)}
    (fold,) = found(Net(), x)
    assert fold.layers == ("first", "second")
    assert found(Net(gives=True), x) == []


def test_a_norm_that_adds_one_to_its_weight_stays():
    assert found(Net(one_more=True), {"x": torch.randn(2, 8)}) == []


def test_a_layer_that_may_not_change_keeps_the_norm():
    assert find_folds(Net(), ["first"], Batch({"x": torch.randn(2, 8)})) == []


@pytest.mark.parametrize("name", FED)
def test_outputs_stay_and_so_does_the_model(tiny, inputs, name):
    model, given = tiny(name), None
    given = inputs(model)
    folds = found(model, given)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    scales = {
        fold.norm: torch.rand_like(model.get_submodule(fold.norm).weight.data) + 0.5
        for fold in folds
    }
    moved = folded_copy(model, folds, scales)
    with torch.no_grad():
        torch.testing.assert_close(
            moved(**given).logits, model(**given).logits, rtol=1e-3, atol=1e-3
        )
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    norm = folds[0].norm
    assert not torch.equal(moved.get_submodule(norm).weight, model.get_submodule(norm).weight)
