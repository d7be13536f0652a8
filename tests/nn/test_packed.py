"""When the kernels compute an INT8 layer, and what becomes of the weights packed for them."""

import copy
import gc
import io
import pickle

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deepseek.nn import compute as layers
from deepseek.nn import packed as packed_module
from deepseek.nn.int8_arithmetic import int8_linear
from deepseek.nn.int8_linear import Int8Linear

DTYPES = [torch.float32, torch.bfloat16]


def layer(features=(37, 11), symmetric=False, dtype=torch.float32, seed=0, bias=True):
    torch.manual_seed(seed)
    linear = nn.Linear(*features, bias=bias).to(dtype)
    return Int8Linear.from_linear(linear, symmetric=symmetric).eval()


def plainly(layer, x):
    return int8_linear(x, layer.weight, layer.weight_scale, layer.bias, layer.sums)


@pytest.fixture
def kernels(monkeypatch):
    """The packed weights that the kernel was called with."""
    used = []

    def spy(x, weight, bias):
        used.append(weight)
        return real(x, weight, bias)

    real = layers.linear_int8
    monkeypatch.setattr(layers, "linear_int8", spy)
    return used


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (3, 37), (257, 64), (2, 5, 768), (0, 9), (31,)])
def test_kernels_give_the_same_bits(kernels, dtype, symmetric, bias, shape):
    one = layer((shape[-1], 50), symmetric, dtype, bias=bias)
    x = torch.randn(shape).to(dtype) + 1
    with torch.no_grad():
        assert torch.equal(one(x), plainly(one, x))
    assert len(kernels) == 1


@pytest.mark.parametrize("scale", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_types_may_be_mixed(kernels, dtype, scale):
    one = layer(dtype=torch.float32)
    one.weight_scale = one.weight_scale.to(scale)
    x = torch.randn(4, 37).to(dtype)
    assert torch.equal(one(x), plainly(one, x))
    assert len(kernels) == 1


@pytest.mark.parametrize(
    "flag",
    [
        "torch.compiler._is_compiling_flag",
        "torch.utils._python_dispatch._is_in_torch_dispatch_mode",
    ],
)
def test_what_other_threads_trace_does_not_matter(kernels, monkeypatch, flag):
    monkeypatch.setattr(flag, True)
    layer()(torch.randn(4, 37))
    assert len(kernels) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_types_keep_to_torch(kernels, dtype):
    one = layer(dtype=dtype)
    x = torch.randn(4, 37, dtype=dtype)
    assert torch.equal(one(x), plainly(one, x))
    one.float().bias = one.bias.to(dtype)
    assert one(x.float()).dtype == torch.float32
    assert kernels == []


def test_numbers_that_are_not_finite_show_in_their_row_only():
    one = layer()
    for value in (torch.nan, torch.inf, -torch.inf):
        x = torch.randn(3, 37)
        expected = plainly(one, x)
        x[1, 2] = value
        result = one(x)
        assert result[1].isnan().all()
        assert torch.equal(result[[0, 2]], expected[[0, 2]])


def test_a_weight_is_packed_once(kernels):
    one = layer()
    for rows in (1, 4, 9):
        one(torch.randn(rows, 37))
    with torch.inference_mode():
        one(torch.randn(2, 37))
    assert len(kernels) == 4
    assert all(packed is kernels[0] for packed in kernels)


def test_layers_that_share_a_weight_share_what_is_packed(kernels):
    one, x = layer(), torch.randn(2, 37)
    memo = {id(tensor): tensor for tensor in one.buffers()}
    for either in (one, copy.deepcopy(one, memo)):
        either(x)
    assert kernels[0] is kernels[1]


def test_it_goes_with_the_weight():
    gc.collect()
    before = len(packed_module._packed)
    one = layer()
    one(torch.randn(2, 37))
    assert len(packed_module._packed) == before + 1
    del one
    gc.collect()
    assert len(packed_module._packed) == before


def test_it_is_no_part_of_a_state():
    one = layer()
    names = list(one.state_dict()), [name for name, _ in one.named_buffers()], sorted(vars(one))
    one(torch.randn(2, 37))
    assert names == (
        list(one.state_dict()), [name for name, _ in one.named_buffers()], sorted(vars(one))
    )  # fmt: skip


def unpickled(one):
    return pickle.loads(pickle.dumps(one))


def saved_and_loaded(one):
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    empty = Int8Linear(37, 11)
    empty(torch.randn(1, 37))
    empty.load_state_dict(torch.load(file, weights_only=True))
    return empty


@pytest.mark.parametrize("copied", [copy.deepcopy, unpickled, saved_and_loaded])
def test_copies_compute_the_same(copied):
    one, x = layer(), torch.randn(2, 37)
    expected = one(x)
    assert torch.equal(copied(one)(x), expected)
    assert torch.equal(copied(layer())(x), expected)


def in_place(one, other):
    one.weight.copy_(other.weight)
    one.weight_scale.copy_(other.weight_scale)
    one.sums.copy_(other.sums)
    one.bias = other.bias


def new_tensors(one, other):
    one.weight, one.weight_scale, one.bias = other.weight, other.weight_scale, other.bias
    one.sums = other.sums


def loaded(one, other):
    one.load_state_dict(other.state_dict())


def assigned(one, other):
    one.load_state_dict(other.state_dict(), assign=True)


@pytest.mark.parametrize("change", [in_place, new_tensors, loaded, assigned])
def test_a_new_weight_counts_at_once(change):
    one, other, x = layer(), layer(seed=1), torch.randn(2, 37)
    before = one(x)
    change(one, other)
    assert torch.equal(one(x), plainly(other, x))
    assert not torch.equal(one(x), before)


def test_a_new_scale_counts_at_once():
    one, x = layer(), torch.randn(2, 37)
    one(x)
    one.weight_scale.mul_(2)
    assert torch.equal(one(x), plainly(one, x))
    one.to(torch.bfloat16)
    assert torch.equal(one(x.bfloat16()), plainly(one, x.bfloat16()))
    one.sums = None
    assert torch.equal(one(x.bfloat16()), plainly(one, x.bfloat16()))


def test_a_layer_on_another_device_keeps_to_torch(kernels):
    one = layer().to("meta")
    assert one(torch.empty(2, 37, device="meta")).shape == (2, 11)
    assert kernels == []


def test_a_gradient_is_refused_not_dropped(kernels):
    """Parameters before the layer may ask for one where inference forgets ``no_grad``."""
    one, x = layer(), torch.randn(3, 37, requires_grad=True)
    y = one(x)
    assert torch.equal(y, plainly(one, x))
    assert len(kernels) == 1
    with pytest.raises(RuntimeError, match=r"deepseek\.quantized_linear"):
        y.sum().backward()


def trace(one, x):
    return torch.jit.trace(one, (torch.ones_like(x),), check_trace=False)(x)


def export(one, x):
    return torch.export.export(one, (torch.ones_like(x),)).module()(x)


def vmap(one, x):
    return torch.func.vmap(one)(x)


def count(one, x):
    with FlopCounterMode(display=False):
        return one(x)


@pytest.mark.filterwarnings("ignore:.*trac", "ignore:There is a performance drop")
@pytest.mark.parametrize("recorded", [trace, export, vmap, count])
def test_what_torch_records_goes_through_torch(kernels, recorded):
    one, x = layer(), torch.randn(3, 37)
    assert torch.equal(recorded(one, x), plainly(one, x))
    assert kernels == []


def test_inference_tensors_keep_to_torch(kernels):
    with torch.inference_mode():
        one = layer()
        x = torch.randn(3, 37)
        assert torch.equal(one(x), plainly(one, x))
    assert kernels == []


def test_processors_without_kernels_keep_to_torch(kernels, monkeypatch):
    monkeypatch.setattr(packed_module, "_has_kernels", lambda: False)
    one, x = layer(), torch.randn(3, 37)
    assert torch.equal(one(x), plainly(one, x))
    assert kernels == []
