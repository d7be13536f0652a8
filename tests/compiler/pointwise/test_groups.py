"""Which nodes become one kernel, and which stay as they are."""

import math

import pytest
import torch
from torch.nn import functional

X, Y = torch.randn(6, 40), torch.randn(6, 40)


def names(module):
    return [[str(o.target) for o in kernel.operations] for kernel in module.kernels]


def check(module, function, *operands):
    torch.testing.assert_close(module(*operands), function(*operands))


def test_a_chain_is_one_kernel(fused):
    def gelu(x):
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))

    module = fused(gelu, X)
    assert (module.groups, len(module.kernels), module.left) == (1, 1, [])
    (node,) = [n for n in module.module.graph.nodes if n.target is module.kernels[0]]
    assert node.meta["val"].shape[1].hint == X.shape[1]
    assert node.meta["val"].dtype == torch.float32
    assert module.kernels[0].__name__ in module.module.code
    check(module, gelu, X)


def test_a_result_that_is_used_elsewhere_stays_one(fused):
    def function(x, y):
        total = torch.tanh(x + y)
        return torch.relu(total * 2) - 1 + total.sum(-1, keepdim=True)

    module = fused(function, X, Y)
    assert len(module.kernels) == 2
    assert [name for name in module.left if "sym_size" not in name] == ["aten.sum.dim_IntList"]
    check(module, function, X, Y)


def test_what_is_used_twice_within_is_computed_once(fused):
    def function(x, y):
        gate = torch.sigmoid(x * y)
        return gate * x + (1 - gate) * y

    module = fused(function, X, Y)
    assert len(module.kernels) == 1
    assert sum("sigmoid" in name for name in names(module)[0]) == 1
    check(module, function, X, Y)


def test_a_cheap_node_is_computed_again_in_each_group(fused):
    def function(x, y):
        wide = x.float()
        return torch.tanh(wide * 2) @ (torch.exp(-wide) + 1).T

    x = X.bfloat16()
    module = fused(function, x, Y)
    assert sorted(sum("to.dtype" in name for name in group) for group in names(module)) == [1, 1]
    check(module, function, x, Y)


def test_nothing_is_moved_across_a_mutation(fused):
    def function(x, y):
        before = x * 2 + 1
        x.add_(1)
        return torch.relu(before * y) - x

    module = fused(function, X.clone(), Y)
    assert len(module.kernels) == 2
    torch.testing.assert_close(module(X.clone(), Y), function(X.clone(), Y))


def test_a_view_between_ends_a_group(fused):
    def function(x, y):
        return torch.relu((x * 2 + 1).view(-1, 8) - 1) * 3

    module = fused(function, X, Y)
    assert len(module.kernels) == 2
    check(module, function, X, Y)


def test_an_expensive_row_is_not_computed_for_each_row(fused):
    def function(x, y):
        return x * torch.exp(torch.tanh(y[0])) + 1

    module = fused(function, X, Y)
    assert sorted(map(len, names(module))) == [2, 2]
    check(module, function, X, Y)


def test_a_column_is_taken_in(fused):
    def norm(x, y):
        mean = (x * x).mean(-1, keepdim=True)
        return x * torch.rsqrt(mean + 1e-6) * y[0]

    module = fused(norm, X, Y)
    assert ["rsqrt" in " ".join(group) for group in names(module)] == [True]
    check(module, norm, X, Y)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: x + y,
        lambda x, y: torch.exp(x),
        lambda x, y: torch.floor(torch.cos(x)),
        lambda x, y: (x.double() * 2 + 1).tanh(),
        lambda x, y: (x.half() * 2 + 1).tanh(),
        lambda x, y: torch.relu(x.sum() * 2 + 1),
        lambda x, y: torch.div(x, y, rounding_mode="floor"),
        lambda x, y: x.float(),
    ],
)
def test_what_does_not_pay_or_is_not_known_is_left(fused, function):
    module = fused(function, X, Y)
    assert (module.groups, module.kernels) == (0, [])
    check(module, function, X, Y)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: x.masked_fill(y > 0, 0.0),
        lambda x, y: functional.gelu(x, approximate="tanh"),
        lambda x, y: x > y,
    ],
)
def test_single_operators_that_torch_is_slow_at(fused, function):
    module = fused(function, X, Y)
    assert module.groups == 1
    check(module, function, X, Y)


def test_strides_of_results_are_torchs(fused):
    def function(x, y):
        return torch.relu(x.transpose(1, 2) * y.transpose(1, 2)) + 1

    x, y = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 5, 8)
    module = fused(function, x, y)
    assert module.groups == 1
    check(module, function, x, y)
    assert module(x, y).stride() == function(x, y).stride()
    x, y = torch.randn(4, 7, 2, 9), torch.randn(4, 7, 2, 9)
    assert module(x, y).stride() == function(x, y).stride()
    reference = module.kernels[0].reference(x.transpose(1, 2), y.transpose(1, 2))
    assert reference.stride() == function(x, y).stride()


def test_an_exported_mask(fused):
    class Mask(torch.nn.Module):
        def forward(self, keep, place):
            allowed = (place[:, None] >= place[None, :]) & (keep[:, None, None, :] > 0)
            return (1.0 - allowed.to(torch.float32)) * -1e9

    from deepseek.compiler.pointwise import fuse_pointwise

    dynamic = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        Mask(), (torch.ones(3, 9, dtype=torch.long), torch.arange(9)),
        dynamic_shapes=({0: dynamic, 1: dynamic}, {0: dynamic}), strict=False,
    )  # fmt: skip
    module = program.module()
    assert fuse_pointwise(module.graph) == 1
    module.graph.lint()
    module.recompile()
    for batch, length in ((3, 9), (2, 33)):
        keep = torch.randint(0, 2, (batch, length))
        place = torch.arange(length)
        torch.testing.assert_close(module(keep, place), Mask()(keep, place))


def test_casts_that_change_nothing_are_taken_out(fused):
    def norm(x, y):
        x = x + y
        wide = x.to(torch.float32)
        mean = wide.pow(2).mean(-1, keepdim=True)
        return wide * torch.rsqrt(mean + 1e-6) + wide.to(torch.float32)

    module = fused(norm, X, Y)
    assert not any("to.dtype" in name for name in module.left)
    assert sum("add.Tensor" in name for name in module.left) == 1  # the sum is computed once
    check(module, norm, X, Y)


def test_what_a_copied_node_needs_is_not_copied(fused):
    def function(x, y):
        wide = torch.tanh(x * y).bfloat16()
        return (wide * 2 + 1) @ (torch.exp(wide) + 1).T

    module = fused(function, X, Y)
    assert sum("tanh" in name for group in names(module) for name in group) == 1
    check(module, function, X, Y)
