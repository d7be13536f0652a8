"""The arithmetic is that of compressed-tensors to the last integer, at every rank and extreme."""

import pytest
import torch
from torch import nn

from deepseek.nn.int8_arithmetic import quantize_tokens
from deepseek.nn.int8_linear import Int8Linear
from deepseek.progress import silent
from deepseek.quantization.batches import Batch
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.methods import METHODS
from deepseek.quantization.methods.dynamic_range import dynamic_range

forward = pytest.importorskip("compressed_tensors.quantization.lifecycle.forward")
arguments = pytest.importorskip("compressed_tensors.quantization.quant_args")

TYPES = [torch.float32, torch.bfloat16, torch.float16]


def theirs(x: torch.Tensor, *, grouped: bool, symmetric: bool) -> torch.Tensor:
    """Activations rounded and widened again by the library."""
    strategy = {"strategy": "group", "group_size": x.shape[-1]} if grouped else {
        "strategy": "token"
    }  # fmt: skip
    args = arguments.QuantizationArgs(
        num_bits=8, type="int", symmetric=symmetric, dynamic=True, **strategy
    )
    module = nn.Linear(1, 1)
    module.quantization_status = forward.QuantizationStatus.FROZEN
    return forward.forward_quantize(module, x, "input", args)


def ours(x: torch.Tensor, *, symmetric: bool) -> torch.Tensor:
    steps, scale, zero = quantize_tokens(x, symmetric=symmetric)
    return (steps.to(x.dtype) - (0 if zero is None else zero)) * scale


def values(shape, dtype):
    """Tokens of very different sizes."""
    generator = torch.Generator().manual_seed(sum(shape))
    sizes = torch.randint(-4, 5, (*shape[:-1], 1), generator=generator)
    x = torch.randn(shape, generator=generator) * 10.0**sizes
    x.reshape(-1)[0] = 0
    x.reshape(-1, shape[-1])[-1] = 0  # a token of nothing
    return x.to(dtype)


def shifted(shape, dtype):
    """The same, with most numbers of each token on one side of zero."""
    x = values(shape, dtype)
    return x + x.abs().amax(-1, keepdim=True) / 2


BOTH = pytest.mark.parametrize("symmetric", [True, False])


@BOTH
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("make", [values, shifted])
@pytest.mark.parametrize("shape", [(2, 3, 7), (1, 1, 1), (3, 5, 64), (2, 9, 33)])
def test_tokens_of_sentences_round_as_there(make, dtype, shape, symmetric):
    x = make(shape, dtype)
    expected = theirs(x, grouped=False, symmetric=symmetric)
    assert torch.equal(ours(x, symmetric=symmetric), expected)


@BOTH
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("make", [values, shifted])
@pytest.mark.parametrize("shape", [(5, 7), (3, 1), (2, 3, 4, 9), (2, 3, 7)])
def test_tokens_in_rows_round_as_groups_there(make, dtype, shape, symmetric):
    x = make(shape, dtype)
    expected = theirs(x, grouped=True, symmetric=symmetric)
    assert torch.equal(ours(x, symmetric=symmetric), expected)


@BOTH
def test_why_rows_are_declared_as_groups(symmetric):
    """The library takes "token" of a matrix for one scale over all of it."""
    x = torch.tensor([[1.0, 0.5], [100.0, 50.0]])
    expected = theirs(x, grouped=False, symmetric=symmetric)
    assert not torch.equal(ours(x, symmetric=symmetric), expected)


@BOTH
def test_halves_and_the_ends_of_the_range(symmetric):
    """Scale one: every half between two integers, and what lies beyond the range."""
    x = torch.arange(-128, 128).float()[None, None] + 0.5
    x[..., 0] = -127.5
    assert torch.equal(ours(x, symmetric=symmetric), theirs(x, grouped=False, symmetric=symmetric))


def test_layers_and_their_ranks(tiny, inputs):
    model = tiny("BertForSequenceClassification")
    made = dynamic_range(model, [Batch(inputs(model))], QuantizeConfig(), silent)
    assert sum(isinstance(m, Int8Linear) for m in made.model.modules()) == len(made.layers) == 14
    layers = {layer.name: layer for layer in made.layers}
    up = layers["bert.encoder.layer.0.intermediate.dense"]
    assert (up.in_features, up.out_features, up.input_rank) == (48, 80, 3)
    assert layers["classifier"].input_rank == 2


def test_every_method_of_the_configuration_is_there():
    hints = QuantizeConfig.__annotations__["method"]
    assert {*METHODS, "auto"} == set(hints.__origin__.__args__)
