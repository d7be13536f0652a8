"""Schemes of quantized layers: how each is declared in the compressed-tensors format, and made.

Spoken here are, for linear layers, symmetric INT8 weights with a scale per channel and INT8
activations, per token or calibrated; weights alone of 8 or 4 bits in groups, packed into 32-bit
words; and for embeddings INT8 weights with a scale per row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from deepseek.errors import InputError
from deepseek.nn.grouped_linear import GroupedLinear
from deepseek.nn.int8_embedding import Int8Embedding
from deepseek.nn.int8_linear import Int8Linear

__all__ = ["BY_CHANNEL", "METHOD", "PACKED", "Scheme", "is_linear", "unsupported"]

METHOD, BY_CHANNEL, PACKED = "compressed-tensors", "int-quantized", "pack-quantized"
_INT = {"type": "int"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheme:
    """How the numbers of a layer are kept.

    Attributes:
        bits: Of a weight.
        group_size: Weights that share a scale; None for all of a channel.
        zeros: Whether groups of weights have a zero point.
        inputs: How activations are rounded: ``none``, ``dynamic`` (as the model runs) or
            ``static`` (calibrated, one scale for all).
        symmetric: Whether activations have no zero point.
        width: Numbers a row, of layers whose inputs come in rows and not in sentences.
    """

    bits: int = 8
    group_size: int | None = None
    zeros: bool = False
    inputs: str = "none"
    symmetric: bool = True
    width: int | None = None

    @classmethod
    def of(cls, layer: nn.Module, width: int | None = None) -> "Scheme | None":
        """The scheme of a layer of ours; None of any other."""
        if isinstance(layer, GroupedLinear):
            return cls(bits=layer.bits, group_size=layer.group_size, zeros=layer.has_zeros)
        if isinstance(layer, Int8Embedding):
            return cls()
        if isinstance(layer, Int8Linear):
            inputs = "static" if layer.static else "dynamic"
            rows = None if layer.static else width
            return cls(inputs=inputs, symmetric=layer.symmetric, width=rows)
        return None

    @property
    def format(self) -> str:
        """The name that the format has for the layout of the tensors."""
        return BY_CHANNEL if self.group_size is None else PACKED

    def to_group(self, targets: list[str]) -> dict[str, Any]:
        """The declaration of the layers that ``targets`` name."""
        return {
            "targets": targets,
            "weights": self._weights(),
            "input_activations": self._inputs(),
            "output_activations": None,
            "format": self.format,
        }

    def _weights(self) -> dict[str, Any]:
        common = {"num_bits": self.bits, **_INT, "symmetric": not self.zeros, "dynamic": False}
        if self.group_size is None:
            return {**common, "strategy": "channel"}
        return {**common, "strategy": "group", "group_size": self.group_size}

    def _inputs(self) -> dict[str, Any] | None:
        if self.inputs == "none":
            return None
        common = {"num_bits": 8, **_INT, "symmetric": self.symmetric}
        if self.inputs == "static":
            return {**common, "strategy": "tensor", "dynamic": False}
        if self.width is None:
            return {**common, "strategy": "token", "dynamic": True}
        return {**common, "strategy": "group", "group_size": self.width, "dynamic": True}

    @classmethod
    def from_group(cls, group: Mapping[str, Any]) -> "Scheme":
        """Read a declaration.

        Raises:
            InputError: It is of another kind.
        """
        weights, inputs = group.get("weights") or {}, group.get("input_activations") or {}
        symmetric = bool(
            inputs.get("symmetric", True)
        )  # as the format has it where nothing is said
        scheme = cls(
            bits=weights.get("num_bits", 0),
            group_size=weights.get("group_size") if weights.get("strategy") == "group" else None,
            zeros=not weights.get("symmetric", True),
            inputs=_kind(inputs),
            symmetric=symmetric,
            width=inputs.get("group_size") if inputs.get("strategy") == "group" else None,
        )
        if group.get("output_activations") or not _has(weights, scheme._weights()):
            raise unsupported("another kind of weights, or rounded outputs")
        if not _has(inputs, scheme._inputs() or {}):
            raise unsupported("another kind of activations")
        if not scheme._is_known():
            raise unsupported("another kind of weights for these activations")
        return scheme

    def _is_known(self) -> bool:
        if self.group_size is None:
            return self.bits == 8 and not self.zeros
        return self.inputs == "none" and GroupedLinear.takes(
            self.bits, self.group_size, zeros=self.zeros
        )

    def empty(self, module: nn.Module, name: str) -> nn.Module:
        """A layer of this scheme in place of one in floating point, to take its tensors.

        Raises:
            InputError: There is no such layer.
        """
        weight = module.weight
        assert isinstance(weight, Tensor)
        place: dict[str, Any] = {"dtype": weight.dtype, "device": weight.device}
        if isinstance(module, nn.Embedding):
            if self != Scheme():
                raise unsupported(f"rounded inputs or groups in the embedding {name}")
            return Int8Embedding(
                module.num_embeddings, module.embedding_dim, padding_idx=module.padding_idx, **place
            )
        outputs, inputs = weight.shape if isinstance(module, nn.Linear) else weight.shape[::-1]
        place["bias"] = module.bias is not None
        if self.width not in (None, inputs):
            raise unsupported(f"groups of {self.width} in layer {name}")
        if self.group_size is not None:
            return GroupedLinear(
                inputs, outputs, bits=self.bits, group_size=self.group_size, zeros=self.zeros,
                **place,
            )  # fmt: skip
        if self.inputs == "none":
            raise unsupported(f"activations in floating point in layer {name}")
        static = self.inputs == "static"
        return Int8Linear(inputs, outputs, symmetric=self.symmetric, static=static, **place)


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer in floating point, either way round."""
    return isinstance(module, nn.Linear | Conv1D)


def _kind(inputs: Mapping[str, Any]) -> str:
    if not inputs:
        return "none"
    return "dynamic" if inputs.get("dynamic") is True else "static"


def _has(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return all(found.get(key) == value for key, value in expected.items())


def unsupported(found: str) -> InputError:
    """The error for a folder of a scheme that is not spoken here."""
    return InputError(
        "expected a folder quantized to INT8 with scales per channel and per token, or to weights "
        f"of 8 or 4 bits in groups ({METHOD}), found {found}"
    )
