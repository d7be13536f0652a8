"""What a method is: a function from a model to a quantized copy of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from deepseek.progress import Progress
from deepseek.quantization.apply import LeftAlone, as_linear
from deepseek.quantization.batches import Batches
from deepseek.quantization.config import QuantizeConfig

__all__ = ["Method", "Quantized", "QuantizedLayer", "described"]


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizedLayer:
    """A layer with quantized weights.

    Attributes:
        name: Its path in the model.
        in_features: Numbers that go in for a token.
        out_features: Numbers that come out.
        input_rank: Dimensions of what goes in; None where it did not run.
        kind: The class of the layer it stands for: ``Linear`` or ``Conv1D``.
    """

    name: str
    in_features: int
    out_features: int
    input_rank: int | None
    kind: str = "Linear"


def described(
    model: nn.Module, names: Sequence[str], ranks: Mapping[str, int]
) -> list[QuantizedLayer]:
    """The layers of a model that were quantized, for the report and the written folder.

    Args:
        model: In floating point.
        names: Of its linear layers.
        ranks: Dimensions of their inputs, as :func:`.inspection.input_ranks` tells.
    """
    found = []
    for name in names:
        module = model.get_submodule(name)
        linear = as_linear(module)
        found.append(
            QuantizedLayer(
                name=name,
                in_features=linear.in_features,
                out_features=linear.out_features,
                input_rank=ranks.get(name),
                kind=type(module).__name__,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Quantized:
    """What a method made.

    Attributes:
        model: The quantized copy.
        layers: The layers it quantized.
        left_alone: Layers that could have been, and why they were not.
        groups: Paths of modules that changed together, such as a norm and the layers behind it
            that took over its scales: all of a group return to floating point, or none. A layer
            that is in no group stands alone. Modules that are in none and hold no quantized weight
            are the original's.
    """

    model: nn.Module
    layers: Sequence[QuantizedLayer]
    left_alone: Sequence[LeftAlone]
    groups: Sequence[Sequence[str]] = ()


class Method(Protocol):
    """Quantizes a copy of a model and leaves the model alone."""

    def __call__(
        self, model: nn.Module, calibration: Batches, config: QuantizeConfig, progress: Progress
    ) -> Quantized:
        """Quantize.

        Args:
            model: In floating point, in eval mode.
            calibration: Batches that may be looked at; what is held out is not among them.
            config: What was asked for.
            progress: Told how far it has come.

        Raises:
            InputError: The model cannot be quantized.
        """
