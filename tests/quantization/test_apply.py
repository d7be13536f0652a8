"""Which layers become INT8, which stay and why; the model itself is never touched."""

import pytest
import torch
from torch import nn

from deepseek.errors import InputError
from deepseek.nn.int8_linear import Int8Linear
from deepseek.quantization.apply import as_linear, copy_sharing_tensors, plan_layers, quantized_copy


def test_every_linear_layer_of_bert(tiny):
    plan = plan_layers(tiny("BertForSequenceClassification"))
    assert len(plan.quantized) == 2 * 6 + 2
    assert {"bert.pooler.dense", "classifier"} <= set(plan.quantized)
    assert plan.left_alone == ()


@pytest.mark.parametrize("name", ["BertForMaskedLM", "LlamaForCausalLM"])
def test_a_layer_tied_to_the_embeddings_stays(tiny, name):
    model = tiny(name, tie_word_embeddings=True)
    (left,) = plan_layers(model).left_alone
    head = "cls.predictions.decoder" if name == "BertForMaskedLM" else "lm_head"
    assert left.name == head
    assert left.reason.startswith("its weight is also that of")
    assert "embed" in left.reason


def test_an_untied_head_is_quantized(tiny):
    assert "lm_head" in plan_layers(tiny("LlamaForCausalLM", tie_word_embeddings=False)).quantized


def test_conv1d_is_a_linear_layer_the_other_way_round(tiny, inputs):
    model = tiny("GPT2ForSequenceClassification")
    plan = plan_layers(model)
    assert len(plan.quantized) == 9
    assert plan.left_alone == ()
    layer = model.transformer.h[0].mlp.c_fc
    linear = as_linear(layer)
    assert linear.weight.data_ptr() == layer.weight.data_ptr()
    x = torch.randn(2, 3, 48)
    torch.testing.assert_close(linear(x), layer(x))
    int8 = quantized_copy(model, plan.quantized).transformer.h[0].mlp.c_fc
    assert torch.equal(int8(x), Int8Linear.from_linear(linear)(x))


def test_a_kind_of_linear_layer_that_is_not_called_stays():
    model = nn.Sequential(nn.Linear(8, 8), nn.MultiheadAttention(8, 2))
    plan = plan_layers(model)
    assert plan.quantized == ("0",)
    assert [left.name for left in plan.left_alone] == ["1.out_proj"]


def test_a_layer_reached_by_two_names_is_one_layer():
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
    model["c"] = model["a"]
    assert plan_layers(model).quantized == ("a", "b")
    copy = quantized_copy(model, ("a", "b"))
    assert isinstance(copy["c"], Int8Linear)
    assert copy["c"] is copy["a"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "found none in Sequential$"),
        (nn.MultiheadAttention(4, 2), r"but 1 that must stay as they are \(out_proj: NonDyn"),
        (nn.Sequential(Int8Linear(4, 4)), r"quantized already \(layer 0 is a Int8Linear\)"),
    ],
)
def test_nothing_to_quantize(model, message):
    with pytest.raises(InputError, match=message):
        plan_layers(model)


def test_a_declared_quantization_is_one(tiny):
    model = tiny("BertModel")
    model.config.quantization_config = {"quant_method": "awq"}
    with pytest.raises(InputError, match="quantized already"):
        plan_layers(model)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:UserWarning")
def test_layers_of_torch_that_are_quantized_already():
    engines = torch.backends.quantized.supported_engines
    if torch.backends.quantized.engine not in engines or torch.backends.quantized.engine == "none":
        pytest.skip("this torch has no quantized engine")
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 8)))
    with pytest.raises(InputError, match="quantized already"):
        plan_layers(model)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_name_the_layer(tiny, value):
    model = tiny("BertModel")
    model.encoder.layer[1].intermediate.dense.weight.data[3, 4] = value
    with pytest.raises(InputError, match=r"layer encoder\.layer\.1\.intermediate\.dense$"):
        quantized_copy(model, plan_layers(model).quantized)


def test_the_model_is_left_alone_and_its_tensors_are_shared(tiny, inputs):
    model = tiny("BertModel")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copy = quantized_copy(model, plan_layers(model).quantized)
    assert not any(isinstance(module, Int8Linear) for module in model.modules())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    table = "embeddings.word_embeddings"
    assert (
        copy.get_submodule(table).weight.data_ptr() == model.get_submodule(table).weight.data_ptr()
    )
    assert not copy(**inputs(model)).last_hidden_state.isnan().any()


def test_a_copy_shares_tensors_but_not_modes(tiny):
    model = tiny("BertModel").train()
    copy = copy_sharing_tensors(model).eval()
    assert model.training
    assert not copy.training
    pairs = zip(model.parameters(), copy.parameters(), strict=True)
    assert all(mine is other for mine, other in pairs)


def test_progress_counts_layers(tiny):
    model = tiny("BertModel")
    heard = []
    names = plan_layers(model).quantized
    quantized_copy(model, names, lambda *event: heard.append(event))
    assert heard == [("quantizing layers", n, len(names)) for n in range(len(names) + 1)]
