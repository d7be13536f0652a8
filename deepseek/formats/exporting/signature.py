"""What a model is called with, which of its sizes are free, and inputs to try it on."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from deepseek.errors import InputError

__all__ = ["Signature", "Sizes", "signature_of"]

# B batch, T tokens, D decoder tokens, C channels, H height, W width


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """The free sizes of an input.

    Attributes:
        batch: Number of samples.
        length: Number of tokens of each; for pictures the side, 0 for the model's own.
        padding: Whether every second sample is padded to half its length, and on which side.
    """

    batch: int
    length: int = 0
    padding: str = ""

    def __str__(self) -> str:
        shape = f"{self.batch} x {self.length}" if self.length else f"{self.batch}"
        return f"{shape}, padded {self.padding}" if self.padding else shape


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """How a model is called.

    Attributes:
        axes: For each input, in order, the names of its free axes.
        example: The sizes an export is made with: all different, so that no two are confused.
        trials: The sizes that outputs are compared on.
        make: Makes inputs of given sizes; the same ones every time.
    """

    axes: Mapping[str, Mapping[int, str]]
    example: Sizes
    trials: tuple[Sizes, ...]
    make: Callable[[Sizes], dict[str, torch.Tensor]]


def signature_of(model: torch.nn.Module, architecture: str) -> Signature:
    """How ``model`` is called.

    Args:
        model: A model of transformers.
        architecture: Its name, for the error.

    Raises:
        InputError: It takes neither text nor pictures.
    """
    main = getattr(model, "main_input_name", None)
    if main not in _KINDS:
        raise InputError(
            f"{architecture} cannot be written as a program: it takes {main}, expected "
            f"{' or '.join(_KINDS)}"
        )
    return _KINDS[main](model)


def _text(model: torch.nn.Module) -> Signature:
    config: Any = model.config
    sequence = {0: "batch", 1: "sequence"}
    axes = {"input_ids": sequence, "attention_mask": sequence}
    if _takes(model, "token_type_ids") and getattr(config, "type_vocab_size", 0) > 1:
        axes["token_type_ids"] = sequence
    if config.is_encoder_decoder:
        axes["decoder_input_ids"] = {0: "batch", 1: "decoder_sequence"}
    positions = getattr(config, "max_position_embeddings", None) or 1024
    longest = max(1, positions - 4)  # some architectures count positions from their padding id

    def sizes(batch: int, length: int, padding: str = "") -> Sizes:
        return Sizes(batch=batch, length=min(length, longest), padding=padding)

    def make(wanted: Sizes) -> dict[str, torch.Tensor]:
        inputs = _text_inputs(wanted, config.vocab_size, getattr(config, "pad_token_id", None) or 0)
        return {name: inputs[name] for name in axes}

    return Signature(
        axes=axes,
        example=sizes(3, 11, "right"),
        trials=(
            sizes(1, 1),
            sizes(1, 7),
            sizes(2, 16, "right"),
            sizes(5, 33, "left"),
            sizes(1, 128),
        ),
        make=make,
    )


def _text_inputs(sizes: Sizes, vocabulary: int, pad: int) -> dict[str, torch.Tensor]:
    """Random tokens other than padding; every input a text model may take."""
    generator = torch.Generator().manual_seed(sizes.batch * 1000 + sizes.length)

    def draw(length: int, below: int) -> torch.Tensor:  # [B T]
        return torch.randint(below, (sizes.batch, length), generator=generator)

    def tokens(length: int) -> torch.Tensor:  # [B T]
        drawn = draw(length, vocabulary - 1)
        return drawn + (drawn >= pad).long()

    mask = torch.ones(sizes.batch, sizes.length, dtype=torch.long)
    half = sizes.length // 2
    if sizes.padding == "right":
        mask[1::2, sizes.length - half :] = 0
    elif sizes.padding == "left":
        mask[1::2, :half] = 0
    return {
        "input_ids": tokens(sizes.length).where(mask.bool(), torch.tensor(pad)),
        "attention_mask": mask,
        "token_type_ids": draw(sizes.length, 2),
        "decoder_input_ids": tokens(sizes.length // 2 + 2),
    }


def _picture(model: torch.nn.Module) -> Signature:
    config: Any = model.config
    side = getattr(config, "image_size", None)
    height, width = side if isinstance(side, list | tuple) else (side or 224, side or 224)
    axes = {0: "batch"} if side else {0: "batch", 2: "height", 3: "width"}

    def make(sizes: Sizes) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(sizes.batch * 1000 + sizes.length)
        shape = (sizes.batch, config.num_channels, sizes.length or height, sizes.length or width)
        return {"pixel_values": torch.randn(shape, generator=generator)}  # [B C H W]

    others = () if side else (Sizes(batch=1, length=97),)
    return Signature(
        axes={"pixel_values": axes},
        example=Sizes(batch=2),
        trials=(Sizes(batch=1), Sizes(batch=2), Sizes(batch=5), *others),
        make=make,
    )


def _takes(model: torch.nn.Module, name: str) -> bool:
    return name in inspect.signature(model.forward).parameters


_KINDS = {"input_ids": _text, "pixel_values": _picture}
