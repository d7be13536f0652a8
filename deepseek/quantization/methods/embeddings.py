"""Embeddings to INT8 with a scale per row, and the output layers that share their weight.

A row of a table is an output channel of a layer tied to it, and both have one scale, so that the
two go on sharing one tensor. The layer rounds its inputs per token.
"""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.nn.int8_embedding import Int8Embedding
from deepseek.nn.int8_linear import Int8Linear
from deepseek.progress import Progress
from deepseek.quantization.batches import Batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.inspection import input_ranks
from deepseek.quantization.methods.method import Method, Quantized, QuantizedLayer, described

__all__ = ["embedding_too", "with_embeddings"]

_NARROWEST = 32  # below lie tables such as relative positions, which are small and exact


def embedding_too(method: Method) -> Method:
    """A method that quantizes embeddings as well where it is asked to."""

    def both(
        model: nn.Module, calibration: Batches, config: QuantizeConfig, progress: Progress
    ) -> Quantized:
        made = method(model, calibration, config, progress)
        return with_embeddings(made, model, calibration) if config.embeddings else made

    return both


def with_embeddings(made: Quantized, model: nn.Module, calibration: Batches) -> Quantized:
    """Quantize the embeddings of a quantized copy too.

    Args:
        made: What a method made. Its model is changed.
        model: In floating point.
        calibration: To see the shapes of inputs.

    Raises:
        InputError: An embedding is not finite.
    """
    tables, heads = _tables(made.model), _tied(made.model)
    ranks = input_ranks(model, [name for names in heads.values() for name in names],
                        next(iter(calibration)))  # fmt: skip
    layers, gone, groups = list(made.layers), set(), list(made.groups)
    for place, names in tables.items():
        first: Int8Embedding | None = None
        for name in names:
            table = made.model.get_submodule(name)
            assert isinstance(table, nn.Embedding)
            if not table.weight.isfinite().all():
                raise InputError(f"expected finite weights, found NaN or infinity in layer {name}")
            layer = Int8Embedding.from_embedding(table) if first is None else _like(first, table)
            first = first or layer
            made.model.set_submodule(name, layer)
            layers.append(_described(name, table))
        assert first is not None
        for name in heads.get(place, ()):
            _replace_head(made.model, name, first)
            layers += described(model, [name], ranks)
            gone.add(name)
        groups.append((*names, *heads.get(place, ())))  # what shares a weight shares its form
    left = [layer for layer in made.left_alone if layer.name not in gone]
    return Quantized(made.model, layers, left, groups)


def _tables(model: nn.Module) -> Mapping[int, list[str]]:
    """The embeddings by the place of their weight in memory."""
    found: dict[int, list[str]] = defaultdict(list)
    for name, module in model.named_modules():
        if type(module) is nn.Embedding and module.embedding_dim >= _NARROWEST:
            found[module.weight.data_ptr()].append(name)
    return found


def _tied(model: nn.Module) -> Mapping[int, list[str]]:
    """The linear layers by the place of their weight in memory."""
    found: dict[int, list[str]] = defaultdict(list)
    for name, module in model.named_modules():
        if type(module) is nn.Linear:
            found[module.weight.data_ptr()].append(name)
    return found


def _like(first: Int8Embedding, table: nn.Embedding) -> Int8Embedding:
    """Another table over the same tensors."""
    layer = Int8Embedding(
        table.num_embeddings, table.embedding_dim, padding_idx=table.padding_idx, device="meta"
    )
    layer.share(first.weight, first.weight_scale)
    return layer.train(table.training)


def _replace_head(model: nn.Module, name: str, table: Int8Embedding) -> None:
    linear = model.get_submodule(name)
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        layer = Int8Linear.sharing(table.weight, table.weight_scale, _bias(linear))
    model.set_submodule(name, layer.train(linear.training))


def _bias(linear: nn.Linear) -> Tensor | None:
    return None if linear.bias is None else linear.bias.detach()


def _described(name: str, table: nn.Embedding) -> QuantizedLayer:
    return QuantizedLayer(
        name=name,
        in_features=table.num_embeddings,
        out_features=table.embedding_dim,
        input_rank=None,
        kind="Embedding",
    )
