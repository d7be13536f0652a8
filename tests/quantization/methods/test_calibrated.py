"""The methods that learn from calibration data."""

import pytest
import torch
import transformers
from torch import nn

import deepseek
from deepseek.errors import InputError
from deepseek.nn.grouped_linear import GroupedLinear
from deepseek.nn.int8_embedding import Int8Embedding
from deepseek.nn.int8_linear import Int8Linear
from deepseek.progress import silent
from deepseek.quantization.batches import Batch
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.methods import METHODS
from deepseek.quantization.quantize import quantize
from deepseek.quantization.write import write_folder


def made(model, given, **options):
    config = QuantizeConfig(**options)
    return METHODS[config.method](model, [Batch(one) for one in given], config, silent)


def fake(x, scale, zero):
    return ((x / scale + zero).round().clamp(-128, 127) - zero) * scale


@pytest.mark.parametrize("observer", ["minmax", "percentile", "entropy", "mse"])
def test_static_layers_round_by_what_was_seen(observer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 5)).eval()
    given = [{"input": torch.randn(20, 16)} for _ in range(3)]
    result = made(model, given, method="static", observer=observer).model
    layer = result[2]
    assert layer.static
    x = torch.nn.functional.gelu(torch.randn(7, 32)) * 3
    zero = layer.input_zero_point.float()
    expected = nn.functional.linear(
        fake(x, layer.input_scale, zero), layer.weight * layer.weight_scale, layer.bias
    )
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
    if observer == "minmax":
        hidden = torch.cat([torch.nn.functional.gelu(model[0](one["input"])) for one in given])
        hidden = hidden.detach()
        reach = float(hidden.max() - hidden.min())
        assert layer.input_scale.item() == pytest.approx(reach / 255, rel=1e-5)


def test_static_folders_load_in_transformers_bit_for_bit(tmp_path, tiny, inputs, monkeypatch):
    pytest.importorskip("compressed_tensors")
    model = tiny("BertForSequenceClassification")
    quantized, report = quantize(model, [inputs(model)], QuantizeConfig(method="static"))
    write_folder(tmp_path / "made", quantized, report)
    kind = transformers.BertForSequenceClassification
    loaded, info = kind.from_pretrained(tmp_path / "made", output_loading_info=True)
    assert not any(info.values()), info

    def in_floats(layer, x):
        rounded = fake(x, layer.input_scale, layer.input_zero_point.float())
        return nn.functional.linear(rounded, layer.weight * layer.weight_scale, layer.bias)

    given = inputs(model, seed=1)
    monkeypatch.setattr(Int8Linear, "forward", in_floats)
    with torch.inference_mode():
        ours = deepseek.load(tmp_path / "made")(**given).logits
        torch.testing.assert_close(loaded(**given).logits, ours, rtol=1e-4, atol=1e-4)


def test_a_layer_that_no_data_goes_through_stays(tiny, inputs):
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(8, 4), nn.Linear(8, 4)

        def forward(self, x):
            return self.used(x)

    result = made(Half().eval(), [{"x": torch.randn(4, 8)}], method="static")
    assert [layer.name for layer in result.layers] == ["used"]
    assert [layer.name for layer in result.left_alone] == ["unused"]
    for rounding in ("gptq", "awq"):
        one = made(Half().eval(), [{"x": torch.randn(4, 8)}], method="weight_only",
                   rounding=rounding)  # fmt: skip
        assert isinstance(one.model.unused, GroupedLinear)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "static"},
        {"method": "smooth"},
        {"method": "weight_only", "rounding": "gptq"},
        {"method": "weight_only", "rounding": "awq"},
    ],
    ids=str,
)
def test_activations_that_are_not_finite_name_the_layer(tiny, inputs, options):
    model = tiny("LlamaForSequenceClassification")
    model.model.layers[1].input_layernorm.weight.data[3] = torch.nan
    with pytest.raises(InputError, match=r"NaN or infinity into layer model\.layers\.1\.self_attn"):
        made(model, [inputs(model)], **options)


def test_no_calibration_data_is_said():
    from deepseek.quantization.methods.observed import stream_inputs

    with pytest.raises(InputError, match="expected calibration data, found none"):
        stream_inputs(nn.Linear(2, 2), [""], [], lambda *_: None, silent)


def strong_feature(model):
    """What real models have: a few features far stronger than all others."""
    for layer in model.model.layers:
        for norm in (layer.input_layernorm, layer.post_attention_layernorm):
            norm.weight.data[5] = 60.0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and name.endswith(("q_proj.weight", "k_proj.weight",
                "v_proj.weight", "gate_proj.weight", "up_proj.weight")):  # fmt: skip
                parameter[:, 5] /= 60.0
    return model


def loss(model, result, given):
    with torch.no_grad():
        exact = model(**given).logits
        return float((result(**given).logits - exact).norm() / exact.norm())


@pytest.mark.parametrize("activations", ["dynamic", "static"])
def test_smoothing_pays_where_a_feature_is_strong(tiny, inputs, activations):
    model = strong_feature(tiny("LlamaForSequenceClassification"))
    given = inputs(model)
    plain = "dynamic_range" if activations == "dynamic" else "static"
    without = loss(model, made(model, [given], method=plain).model, given)
    smoothed = made(model, [given], method="smooth", activations=activations).model
    assert loss(model, smoothed, given) < 0.5 * without
    assert smoothed.model.layers[0].self_attn.q_proj.static == (activations == "static")


def test_awq_pays_where_a_feature_is_strong(tiny, inputs):
    model = strong_feature(tiny("LlamaForSequenceClassification"))
    given = inputs(model, records=30)
    options = {"method": "weight_only", "bits": 4, "group_size": 32}
    nearest = loss(model, made(model, [given], **options).model, given)
    assert loss(model, made(model, [given], rounding="awq", **options).model, given) < nearest


def test_smooth_says_where_there_is_nothing_to_smooth(tiny, inputs):
    model = tiny("BertForSequenceClassification")
    with pytest.raises(InputError, match="found none in BertForSequenceClassification") as caught:
        made(model, [inputs(model)], method="smooth")
    assert "dynamic_range" in caught.value.hint


def test_gptq_is_better_than_nearest(tiny, inputs):
    model = tiny("GPT2LMHeadModel")
    given = inputs(model, records=40)
    options = {"method": "weight_only", "bits": 4, "group_size": 32}
    nearest, gptq = (
        loss(model, made(model, [given], rounding=rounding, **options).model, given)
        for rounding in ("nearest", "gptq")
    )
    assert gptq < nearest


@pytest.mark.parametrize("method", ["static", "weight_only"])
def test_the_model_is_left_alone(tiny, inputs, method):
    model = tiny("LlamaForCausalLM", tie_word_embeddings=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = made(model, [inputs(model)], method=method, embeddings=True)
    assert isinstance(result.model.model.embed_tokens, Int8Embedding)
    assert {layer.kind for layer in result.layers} == {"Linear", "Embedding"}
    assert result.left_alone == []
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 5}, "expected --bits of 8 or 4, got 5"),
        ({"group_size": 16}, "expected --group_size of 32, 64 or 128, got 16"),
        ({"smoothing": 1.5}, "expected --smoothing from 0 to 1, got 1.5"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        QuantizeConfig(**options)


@pytest.mark.parametrize("method", ["static", "smooth", "weight_only"])
def test_what_is_quantized_already_is_refused(tiny, inputs, method):
    model = tiny("LlamaForSequenceClassification")
    once = made(model, [inputs(model)], method="weight_only").model
    with pytest.raises(InputError, match="quantized already"):
        made(once, [inputs(model)], method=method)
