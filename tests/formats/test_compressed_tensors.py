"""The declaration of INT8 layers, written and read."""

import copy

import pytest
import torch
from torch import nn

from deepseek.errors import InputError
from deepseek.formats.compressed_tensors import make_quantized_layers, quantization_config
from deepseek.nn.int8_linear import Int8Linear


class Net(nn.Module):
    base_model_prefix = "body"

    def __init__(self):
        super().__init__()
        self.body = nn.ModuleDict({"first": nn.Linear(8, 4), "pooler": nn.Linear(4, 4)})
        self.head = nn.Linear(4, 2, bias=False)
        self.table = nn.Embedding(5, 8)


def declared(rows=None, left_alone=(), *, symmetric=False):
    net = Net()
    for name, linear in net.body.items():
        net.body[name] = Int8Linear.from_linear(linear, symmetric=symmetric)
    return quantization_config(net, rows or {}, left_alone)


def test_layers_are_made_where_declared():
    net = Net()
    names = make_quantized_layers(net, declared({"body.pooler": 4}, ["head"]))
    assert names == ("body.first", "body.pooler")
    assert isinstance(net.body["first"], Int8Linear)
    assert net.body["first"].in_features == 8
    assert type(net.head) is nn.Linear
    assert type(net.table) is nn.Embedding


@pytest.mark.parametrize("symmetric", [True, False])
def test_activations_are_made_as_declared(symmetric):
    net = Net()
    settings = declared({"body.pooler": 4}, symmetric=symmetric)
    assert make_quantized_layers(net, settings) == ("body.first", "body.pooler", "head")
    assert {net.body["first"].symmetric, net.body["pooler"].symmetric} == {symmetric}
    groups = settings["config_groups"].values()
    assert {group["input_activations"]["symmetric"] for group in groups} == {symmetric}
    assert {group["weights"]["symmetric"] for group in groups} == {True}


def test_made_layers_keep_type_device_and_bias():
    net = Net().to(torch.bfloat16)
    with torch.device("meta"):
        meta = Net()
    for model in (net, meta):
        make_quantized_layers(model, declared())
    assert net.head.weight_scale.dtype == torch.bfloat16
    assert net.head.bias is None
    assert meta.body["first"].weight.device.type == "meta"


def test_the_declaration_fits_without_the_head_too():
    body = nn.ModuleDict({"first": nn.Linear(8, 4), "pooler": nn.Linear(4, 4)})
    names = make_quantized_layers(body, declared({"body.pooler": 4}, ["body.first"]))
    assert names == ("pooler",)


def test_names_are_taken_literally():
    net = nn.ModuleDict(
        {"body": nn.ModuleDict({"first": nn.Linear(4, 4), "xfirst": nn.Linear(4, 4)})}
    )
    assert make_quantized_layers(net, declared({}, ["body.first"])) == ("body.xfirst",)


def test_the_library_reads_it():
    library = pytest.importorskip("compressed_tensors.quantization")
    config = library.QuantizationConfig.model_validate(declared({"body.pooler": 4}, ["head"]))
    rows, tokens = config.config_groups.values()
    assert rows.input_activations.strategy == "group"
    assert rows.input_activations.group_size == 4
    assert tokens.targets == ["Linear"]
    assert tokens.input_activations.strategy == "token"
    assert tokens.input_activations.dynamic is True
    assert tokens.weights.strategy == "channel"
    assert config.ignore == [r"re:(?:body\.)?head$"]
    assert config.format == "int-quantized"


def changed(path, value):
    settings = copy.deepcopy(declared({"body.pooler": 4}))
    target = settings
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return settings


GROUP = ("config_groups", "group_0")


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (changed(("quant_method",), "gptq"), "method gptq"),
        (changed(("format",), "float-quantized"), "format float-quantized"),
        (changed((*GROUP, "weights", "num_bits"), 4), "another kind of weights"),
        (changed((*GROUP, "weights", "strategy"), "group"), "another kind of weights"),
        (changed((*GROUP, "weights"), None), "another kind of weights"),
        (changed((*GROUP, "output_activations"), {"num_bits": 8}), "rounded outputs"),
        (changed((*GROUP, "input_activations"), None), "activations in floating point"),
        (changed((*GROUP, "input_activations", "dynamic"), False), "another kind of activations"),
        (changed((*GROUP, "input_activations", "num_bits"), 4), "another kind of activations"),
        (changed((*GROUP, "weights", "symmetric"), False), "another kind of weights"),
        (changed((*GROUP, "input_activations", "group_size"), 2), "groups of 2 in layer"),
        ({}, "method None"),
    ],
)  # fmt: skip
def test_another_scheme_is_refused(settings, found):
    with pytest.raises(InputError, match="expected a folder quantized to INT8") as caught:
        make_quantized_layers(Net(), settings)
    assert found in caught.value.message


def test_a_folder_of_another_maker():
    """As LLM Compressor declares W8A8: presets of the format, the head left out by name."""
    int8 = {"num_bits": 8, "type": "int", "symmetric": True, "group_size": None}
    settings = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "ignore": ["head"],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {**int8, "strategy": "channel", "dynamic": False, "observer": "minmax"},
                "input_activations": {**int8, "strategy": "token", "dynamic": True},
                "output_activations": None,
            }
        },
    }
    net = Net()
    assert make_quantized_layers(net, settings) == ("body.first", "body.pooler")
    assert net.body["first"].symmetric
