"""Integers in words, as compressed-tensors packs them."""

import pytest
import torch

from deepseek.nn.words import pack_words, unpack_words, words_for


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("shape", [(1, 1), (3, 8), (5, 33), (2, 64), (7, 0)])
def test_there_and_back(bits, shape):
    low = -(1 << (bits - 1))
    generator = torch.Generator().manual_seed(0)
    integers = torch.randint(low, -low, shape, generator=generator)
    words = pack_words(integers, bits)
    assert words.dtype == torch.int32
    assert words.shape == (shape[0], words_for(shape[1], bits))
    assert torch.equal(unpack_words(words, bits, shape[1]), integers.int())


@pytest.mark.parametrize("bits", [4, 8])
def test_the_words_are_those_of_the_format(bits):
    helpers = pytest.importorskip("compressed_tensors.compressors.pack_quantized.helpers")
    low = -(1 << (bits - 1))
    integers = torch.arange(low, -low).repeat(3, 1)[:, :13].to(torch.int8)
    assert torch.equal(pack_words(integers, bits), helpers.pack_to_int32(integers, bits))
