"""Caches of keys and values, as transformers passes them in and out of decoders.

To torch they are objects like any other. Here they become trees of tensors: a graph takes them and
gives them, and the cache that a caller passed holds afterwards what the model would have put there.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CannotFlattenError", "adopt", "among", "register"]

_Layers = tuple[tuple[int | None, bool], ...]  # of each: its window, and whether it holds anything
_registered: list[type] = []


class CannotFlattenError(Exception):
    """A cache is not made of tensors alone: it also counts, or records."""


def register() -> None:
    """Tell torch how the caches are made of tensors, once transformers has been imported."""
    module: Any = sys.modules.get("transformers.cache_utils")
    if module is None or _registered:
        return
    kinds = (
        (module.DynamicCache, _flatten, _unflatten),
        (module.EncoderDecoderCache, _flatten_both, _unflatten_both),
    )
    for kind, flatten, unflatten in kinds:
        with suppress(ValueError):  # transformers may have done it for itself
            pytree.register_pytree_node(
                kind,
                flatten,
                unflatten,
                serialized_type_name=f"{kind.__module__}.{kind.__name__}",
                flatten_with_keys_fn=_with_keys(flatten),
            )
        _registered.append(kind)


def among(tree: Any) -> int:
    """How many caches a tree of arguments or of results has."""
    if tree.type in _registered:
        return 1
    return sum(among(child) for child in tree.children())


def adopt(arguments: Iterable[object], result: Any) -> None:
    """Let caches that were passed in hold what came out, as after a run of the model."""
    kinds = tuple(_registered)
    given: list[Any] = [value for value in arguments if isinstance(value, kinds)]
    if given:
        values = result.values() if isinstance(result, dict) else result
        made = [value for value in values if isinstance(value, kinds)]
        for before, after in zip(given, made, strict=False):
            vars(before).update(vars(after))


def _with_keys(flatten: Any) -> Any:
    def flatten_with_keys(cache: Any) -> tuple[list[tuple[Any, Any]], Any]:
        parts, context = flatten(cache)
        return [(pytree.SequenceKey(place), part) for place, part in enumerate(parts)], context

    return flatten_with_keys


def _flatten(cache: Any) -> tuple[list[Any], tuple[_Layers, bool]]:
    tensors: list[Any] = []
    for layer in cache.layers:
        _check(layer)
        if layer.is_initialized:
            tensors += [layer.keys, layer.values]
    layers = tuple(
        (getattr(layer, "sliding_window", None), layer.is_initialized) for layer in cache.layers
    )
    return tensors, (layers, cache.layer_class_to_replicate is not None)


def _check(layer: Any) -> None:
    """Of a layer with a window, the length that it has seen must follow from what it holds.

    Raises:
        CannotFlattenError: It does not, or the layer is not of keys and values alone.
    """
    module: Any = sys.modules["transformers.cache_utils"]
    if type(layer) is module.DynamicLayer:
        return
    if type(layer) is not module.DynamicSlidingWindowLayer or layer.record_past:
        raise CannotFlattenError(
            f"expected a cache of keys and values that grow, got {type(layer).__name__}"
        )
    if layer.is_initialized and layer.cumulative_length != layer.keys.shape[-2]:
        raise CannotFlattenError("expected a cache shorter than its window, got one that slides")


def _unflatten(tensors: Iterable[Any], context: tuple[_Layers, bool]) -> Any:
    module: Any = sys.modules["transformers.cache_utils"]
    cache = module.DynamicCache()
    layers, grows = context
    left = iter(tensors)
    cache.layers = [_layer(module, window, left if held else None) for window, held in layers]
    cache.layer_class_to_replicate = module.DynamicLayer if grows else None
    return cache


def _layer(module: Any, window: int | None, tensors: Any) -> Any:
    sliding = window is not None
    layer = module.DynamicSlidingWindowLayer(window) if sliding else module.DynamicLayer()
    if tensors is not None:
        keys, values = next(tensors), next(tensors)
        layer.keys, layer.values, layer.is_initialized = keys, values, True
        if isinstance(keys, Tensor):  # else there is a tree to be built of something else
            layer.device, layer.dtype = keys.device, keys.dtype
        if sliding and isinstance(keys, Tensor):
            layer.cumulative_length = keys.shape[-2]
    return layer


def _flatten_both(cache: Any) -> tuple[list[Any], tuple[tuple[int, bool], ...]]:
    updated = tuple(sorted(cache.is_updated.items()))
    return [cache.self_attention_cache, cache.cross_attention_cache], updated


def _unflatten_both(parts: Iterable[Any], updated: tuple[tuple[int, bool], ...]) -> Any:
    module: Any = sys.modules["transformers.cache_utils"]
    cache = object.__new__(module.EncoderDecoderCache)  # parts may be descriptions of tensors
    cache.self_attention_cache, cache.cross_attention_cache = parts
    cache.is_updated = dict(updated)
    return cache
