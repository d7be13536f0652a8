"""Caches of keys and values become trees of tensors, and take in what came out."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils import _pytree as pytree
from transformers.cache_utils import (
    DynamicCache,
    DynamicSlidingWindowLayer,
    EncoderDecoderCache,
)

from deepseek.compiler.caches import CannotFlattenError, adopt, among, register


def filled(layers: int = 2, length: int = 3) -> DynamicCache:
    cache = DynamicCache()
    for layer in range(layers):
        cache.update(torch.randn(2, 4, length, 8), torch.randn(2, 4, length, 8), layer)
    return cache


@pytest.fixture(autouse=True)
def _registered() -> None:
    register()


def test_a_cache_there_and_back() -> None:
    cache = filled()
    leaves, tree = pytree.tree_flatten(cache)
    assert [leaf.shape for leaf in leaves] == [(2, 4, 3, 8)] * 4
    assert among(tree) == 1
    back = pytree.tree_unflatten(leaves, tree)
    assert isinstance(back, DynamicCache)
    assert back.get_seq_length() == 3
    assert back.layers[1].values is cache.layers[1].values


def test_an_empty_cache_there_and_back() -> None:
    leaves, tree = pytree.tree_flatten(DynamicCache())
    assert leaves == []
    assert pytree.tree_unflatten([], tree).get_seq_length() == 0


def test_the_caches_of_an_encoder_and_a_decoder() -> None:
    both = EncoderDecoderCache(filled(1), filled(1, 5))
    both.is_updated[0] = True
    leaves, tree = pytree.tree_flatten(both)
    assert len(leaves) == 4
    back = pytree.tree_unflatten(leaves, tree)
    assert back.cross_attention_cache.get_seq_length() == 5
    assert back.is_updated == {0: True}


def test_a_cache_that_was_passed_in_holds_what_came_out() -> None:
    before, after = filled(length=3), filled(length=4)
    adopt((before, "a word"), {"logits": torch.ones(1), "past_key_values": after})
    assert before.get_seq_length() == 4
    assert before.layers[0].keys is after.layers[0].keys


def sliding(length: int) -> DynamicCache:
    layer = DynamicSlidingWindowLayer(4)
    layer.update(torch.randn(1, 2, length, 8), torch.randn(1, 2, length, 8))
    cache = DynamicCache()
    cache.layers = [layer]
    return cache


def test_a_window_that_is_not_full_has_a_tree() -> None:
    leaves, tree = pytree.tree_flatten(sliding(3))
    (layer,) = pytree.tree_unflatten(leaves, tree).layers
    assert (layer.sliding_window, layer.cumulative_length) == (4, 3)


def test_a_window_that_slides_and_layers_of_other_kinds_have_none() -> None:
    with pytest.raises(CannotFlattenError, match="one that slides"):
        pytree.tree_flatten(sliding(9))
    odd = DynamicCache()
    odd.layers = [SimpleNamespace(is_initialized=True)]
    with pytest.raises(CannotFlattenError, match="SimpleNamespace"):
        pytree.tree_flatten(odd)
