"""Gathered and summed rows of tables against plain PyTorch in float64."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.errors import InputError
from deepseek.kernels import embedding, embedding_layer_norm
from deepseek.kernels.rows import embedding_reference
from deepseek.kernels.rows.embeddings import run_embedding

TAILS = [1, 7, 8, 9, 31, 33, 47, 48, 49, 100, 257]
DTYPES = [torch.float32, torch.bfloat16]


def operands(width, rows=(50, 9, 2), dtype=torch.float32, ids=torch.int64):
    generator = torch.Generator().manual_seed(0)
    tables = [torch.randn(n, width, generator=generator).to(dtype) for n in rows]
    words = torch.randint(rows[0], (4, 7), generator=generator)
    numbers = [words, torch.arange(7), torch.randint(2, (4, 1), generator=generator)]
    weight, bias = torch.randn(2, width, generator=generator).to(dtype)
    return [n.to(ids) for n in numbers], tables, weight, bias


def check(ids, tables, weight=None, bias=None, eps=None, out=None, target=None):
    y = run_embedding(ids, tables, weight, bias, eps, out, target)
    exact = embedding_reference(ids, tables, weight, bias, eps, precision=torch.float64)
    unit = 2.0**-8 if y.dtype == torch.bfloat16 else 2.0**-19
    torch.testing.assert_close(y.double(), exact, atol=4 * unit, rtol=unit, equal_nan=True)
    assert y.is_contiguous()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tails(target, threads, dtype):
    for width in TAILS:
        ids, tables, weight, bias = operands(width, dtype=dtype)
        check(ids, tables, weight, bias, 1e-5, target=target)


def test_numbers_of_tables_and_dtypes(threads):
    for count, dtype, ids_dtype in itertools.product((1, 2, 3), DTYPES, (torch.int32, torch.int64)):
        ids, tables, weight, _ = operands(49, dtype=dtype, ids=ids_dtype)
        check(ids[:count], tables[:count])
        check(ids[:count], tables[:count], weight, None, 1e-5, torch.float32)


def test_enough_tokens_for_all_threads(threads):
    tables = [torch.randn(300, 128), torch.randn(600, 128)]
    check([torch.randint(300, (3, 600)), torch.arange(600)], tables, eps=1e-5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    shape=st.lists(st.integers(0, 5), max_size=4),
    kept=st.lists(st.booleans(), min_size=4, max_size=4),
    width=st.integers(0, 60),
)
def test_any_shape(shape, kept, width):
    part = [size if keep else 1 for size, keep in zip(shape, kept, strict=False)]
    ids = [torch.randint(11, shape), torch.randint(5, part)]
    check(ids, [torch.randn(11, width), torch.randn(5, width)])


def test_strided_operands():
    ids, tables, weight, bias = operands(40)
    many = torch.randint(50, (8, 6, 4))
    check([many.transpose(0, 2), torch.arange(8)], tables[:2])
    check([many[::2, :, 1]], [tables[0][::2, ::2].repeat(2, 1)])
    check([ids[0][:, ::2]], tables[:1], weight.repeat(2)[::2], bias, 1e-5)


def test_public_functions_are_what_they_say():
    ids, tables, weight, bias = operands(40)
    assert torch.equal(embedding(ids[0], tables[0]), torch.embedding(tables[0], ids[0]))
    assert embedding(ids[0], tables[0], torch.bfloat16).dtype == torch.bfloat16
    total = sum(torch.embedding(t, i) for t, i in zip(tables, ids, strict=True))
    torch.testing.assert_close(embedding(ids, tables), total)
    torch.testing.assert_close(
        embedding_layer_norm(ids, tables, weight, bias),
        torch.layer_norm(total, (40,), weight, bias, 1e-12),
    )


@pytest.mark.parametrize("wrong", [-1, 9, 1 << 40, -(1 << 63), (1 << 63) - 1])
def test_ids_outside_the_table_are_refused(target, threads, wrong):
    ids, tables, *_ = operands(300)
    for place in (0, 6):
        ids[1] = torch.arange(7)
        ids[1][place] = wrong
        with pytest.raises(InputError, match=rf"expected `ids\[1\]` .* below 9, got {wrong}$"):
            run_embedding(ids, tables, None, None, None, None, target)
    with pytest.raises(InputError, match=rf"expected `ids\[0\]` .* below 9, got {wrong}$"):
        embedding(ids[1], tables[1])


def test_ids_outside_of_32_bits_are_refused():
    ids, tables, *_ = operands(20, ids=torch.int32)
    ids[0][2, 2] = -(1 << 31)
    with pytest.raises(InputError, match=r"`ids\[0\]`"):
        embedding(ids, tables)


def test_tables_without_rows():
    with pytest.raises(InputError, match=r"`ids\[1\]` of at least 0 and below 0, got 0"):
        embedding([torch.zeros(3).long()] * 2, [torch.ones(1, 4), torch.ones(0, 4)])
    nothing = torch.zeros(2, 0).long()
    assert embedding([nothing, nothing], [torch.ones(0, 4)] * 2).shape == (2, 0, 4)


IDS, TABLE = torch.zeros(2, 3).long(), torch.ones(5, 4)
REFUSED = {
    "count": ([IDS], [TABLE, TABLE], r"as many `ids` as `tables`, 1 to 8, got 1 and 2"),
    "none": ([], [], r"as many `ids` as `tables`, 1 to 8, got 0 and 0"),
    "ids": ([IDS.float()], [TABLE], r"`ids\[0\]` of int64 or int32, got torch.float32"),
    "shapes": ([IDS, IDS[:, :2]], [TABLE] * 2, r"broadcast together, got \(2, 3\), \(2, 2\)"),
    "table": ([IDS], [TABLE[0]], r"`tables\[0\]` of shape \(rows, width\), got \(4,\)"),
    "width": ([IDS] * 2, [TABLE, TABLE[:, :3]], r"`tables\[1\]` of shape \(rows, 4\), got"),
    "dtype": ([IDS], [TABLE.double()], r"`tables\[0\]` of float32 or bfloat16, got"),
    "device": ([IDS.to("meta")], [TABLE], r"`ids\[0\]` on cpu, got meta"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    ids, tables, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        embedding(ids, tables)
