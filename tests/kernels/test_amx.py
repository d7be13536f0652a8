"""AMX: the same results as without it, wherever the process may use it."""

import itertools

import pytest
import torch

from deepseek.kernels import amx, gemm, int8, jit
from deepseek.kernels.gemm import tiles
from deepseek.kernels.gemm.api import _tile_height
from deepseek.kernels.gemm.plan import plan_product
from deepseek.kernels.gemm.spec import COARSE, FORMATS, TILE_ROWS, tall_tile_for
from deepseek.kernels.gemm.tiles import build_tiled_microkernel
from deepseek.kernels.int8.pack import INT8_ROUNDINGS
from deepseek.kernels.target import KNOWN, host

SAPPHIRE = KNOWN["sapphirerapids"]
ROWS = [16, 17, 31, 32, 33, 47, 48, 49, 100, 257]
DEPTHS = [1, 2, 7, 63, 64, 65, 128, 200, 770]

needs_amx = pytest.mark.skipif(
    not (host().amx and amx.allowed()), reason="the processor has no AMX that may be used"
)


def operands(m, n, k):
    generator = torch.Generator().manual_seed(m * k)
    x, w = (torch.randn(size, k, generator=generator) for size in (m, n))
    return x, w, torch.randn(n, generator=generator)


@pytest.fixture
def forbid(monkeypatch):
    """A function after which the process may not use AMX."""

    def refuse(*_):
        raise AssertionError("tiles without permission")

    def act():
        monkeypatch.setattr(amx, "allowed", lambda: False)
        monkeypatch.setattr(tiles, "build_tiled_microkernel", refuse)

    return act


@needs_amx
@pytest.mark.parametrize("m", ROWS)
def test_int8_to_the_last_bit(forbid, threads, m):
    cases = list(itertools.product(DEPTHS, INT8_ROUNDINGS))
    results = []
    for _ in range(2):
        for k, rounding in cases:
            x, w, bias = operands(m, 100, k)
            integers = (w * 40).round().clamp(-128, 127).to(torch.int8)
            packed = int8.pack_int8(integers, bias.abs() + 0.1, rounding)
            results.append(int8.linear_int8(x, packed, bias, "relu"))
        forbid()
    assert all(map(torch.equal, results[: len(cases)], results[len(cases) :]))


@needs_amx
@pytest.mark.parametrize("m", ROWS)
def test_bf16(forbid, threads, m):
    for k in DEPTHS:
        x, w, bias = operands(m, 50, k)
        x, w = x.bfloat16(), w.bfloat16()
        exact = torch.nn.functional.linear(x.double(), w.double(), bias.double())
        y = gemm.linear(x, gemm.pack_weight(w), bias, out=torch.empty(m, 50))
        torch.testing.assert_close(y.double(), exact, atol=1e-4, rtol=1e-4)
    forbid()
    y = gemm.linear(x, gemm.pack_weight(w), bias, out=torch.empty(m, 50))
    torch.testing.assert_close(y.double(), exact, atol=1e-4, rtol=1e-4)


@needs_amx
@pytest.mark.parametrize("m", [20, 70, 300])
def test_depths_in_blocks(forbid, threads, m):
    """Tiles wait in the workspace, and are stored while those of the next unit are multiplied."""
    x, w, bias = operands(m, 130, 7000)
    integers = (w * 40).round().clamp(-128, 127).to(torch.int8)
    packed = int8.pack_int8(integers, bias.abs() + 0.1, "asymmetric")
    of_integers = int8.linear_int8(x, packed, bias)
    x, w = x.bfloat16(), w.bfloat16()
    exact = torch.nn.functional.linear(x.double(), w.double(), bias.double())
    y = gemm.linear(x, gemm.pack_weight(w), bias, out=torch.empty(m, 130))
    torch.testing.assert_close(y.double(), exact, atol=2e-3, rtol=1e-4)
    forbid()
    assert torch.equal(of_integers, int8.linear_int8(operands(m, 130, 7000)[0], packed, bias))


@needs_amx
@pytest.mark.parametrize("activation", COARSE)
def test_activations_of_what_is_rounded(activation):
    x, w, bias = operands(40, 100, 200)
    x, w = (x * 0.3).bfloat16(), (w * 0.3).bfloat16()
    exact = gemm.linear_reference(x, w, bias, activation, precision=torch.float64)
    packed = gemm.pack_weight(w)
    y = gemm.linear(x, packed, bias, activation)
    torch.testing.assert_close(y.double(), exact, atol=2e-4, rtol=2**-8)
    y = gemm.linear(x, packed, bias, COARSE[activation], out=torch.empty(40, 100))
    torch.testing.assert_close(y.double(), exact, atol=2e-4, rtol=2e-4)
    fine = gemm.linear(x, packed, bias, activation, out=torch.empty(40, 100))
    assert (fine - exact).abs().max() < (y - exact).abs().max()


@needs_amx
def test_rows_apart_from_each_other():
    x, w, bias = operands(40, 60, 300)
    wide = torch.full((40, 400), float("nan")).bfloat16()
    wide[:, :300] = x.bfloat16()
    packed = gemm.pack_weight(w.bfloat16())
    together = gemm.linear(x.bfloat16(), packed, bias)
    assert torch.equal(gemm.linear(wide[:, :300], packed, bias), together)


@needs_amx
def test_longest_sums():
    """The greatest sums of any 64 products, in both directions."""
    weight = torch.full((48, 768), -128, dtype=torch.int8)
    weight[1::2] = 127
    x = torch.ones(32, 768)
    y = int8.linear_int8(x, int8.pack_int8(weight, torch.ones(48), "asymmetric"))
    sums = (weight.double().sum(1) * 255).expand(32, 48)
    torch.testing.assert_close(y.double(), sums / 255, rtol=1e-6, atol=0)


def test_asking_twice_gives_the_same_answer():
    first = amx.allowed()
    amx.allowed.cache_clear()
    assert amx.allowed() is first
    assert host().amx or not first


def test_what_is_not_for_tiles():
    assert tall_tile_for(SAPPHIRE, FORMATS["u8s8"], TILE_ROWS, 100) is not None
    assert tall_tile_for(SAPPHIRE, FORMATS["u8s8"], TILE_ROWS - 1, 100) is None
    assert tall_tile_for(SAPPHIRE, FORMATS["bf16"], TILE_ROWS, 101) is None
    assert tall_tile_for(SAPPHIRE, FORMATS["u8s8"], TILE_ROWS, 0) is None
    assert tall_tile_for(SAPPHIRE, FORMATS["fp32"], TILE_ROWS, 100) is None
    assert tall_tile_for(KNOWN["cooperlake"], FORMATS["bf16"], TILE_ROWS, 100) is None


@pytest.mark.parametrize("m", range(TILE_ROWS, 200))
def test_one_height_of_tiles_covers_all_panels(m):
    tile = tall_tile_for(SAPPHIRE, FORMATS["u8s8"], m, 100)
    plan = plan_product(FORMATS["u8s8"], tile, m, 100, 100, 2)
    low, high = plan.height, plan.height + bool(plan.tall)
    height = _tile_height(low, high)
    assert height <= TILE_ROWS
    assert height <= low
    assert high <= 2 * height


@pytest.mark.parametrize(("name", "product"), [("u8s8", "tdpbusd"), ("bf16", "tdpbf16ps")])
def test_code_for_tiles_is_made_on_any_machine(name, product):
    for rows, height in ((16, 16), (19, 10), (32, 16)):
        module = build_tiled_microkernel(SAPPHIRE, name, rows, height)
        text = jit.assembly(str(module), SAPPHIRE)
        assert product in text
        assert "ldtilecfg" in text
