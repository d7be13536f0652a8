"""A module from an architecture and a checkpoint, whose tensors it takes without copying them."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from deepseek.errors import InputError
from deepseek.formats.architectures.configured import model_class
from deepseek.formats.architectures.recognised import Recognised
from deepseek.formats.checkpoint import Checkpoint
from deepseek.formats.compressed_tensors import make_quantized_layers, tie_int8
from deepseek.formats.damage import blamed_on
from deepseek.formats.quiet import quiet

__all__ = ["build"]

# Tables that older checkpoints hold and modules now compute for themselves.
_COMPUTED = ("position_ids", "token_type_ids", "inv_freq", "attn.bias", "attn.masked_bias")
_COUNTER = "num_batches_tracked"  # of batch normalisation, where inference does not look
_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_TIED = ("weight", "weight_scale")
_SHOWN = 3

_State = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fit:
    """How the names and shapes of a checkpoint differ from those of a model."""

    missing: list[str]
    unexpected: list[str]
    reshaped: list[tuple[str, tuple[int, ...], tuple[int, ...]]]

    def __bool__(self) -> bool:
        return not (self.missing or self.unexpected or self.reshaped)

    def __str__(self) -> str:
        parts = []
        if self.missing:
            parts.append(f"{len(self.missing)} tensors are missing ({_some(self.missing)})")
        if self.unexpected:
            parts.append(f"{len(self.unexpected)} have no place in it ({_some(self.unexpected)})")
        if self.reshaped:
            name, found, wanted = self.reshaped[0]
            parts.append(
                f"{len(self.reshaped)} are of another shape ({name}: {list(found)} in the file, "
                f"{list(wanted)} in the model)"
            )
        return ", ".join(parts)


def build(checkpoint: Checkpoint, recognised: Recognised) -> PreTrainedModel:
    """The module, in eval mode, in the floating-point type that the checkpoint has.

    Its parameters lie on the pages of the file where that is mapped.

    Raises:
        InputError: Names or shapes do not fit the architecture, or it cannot be built.
    """
    dtype = _dtype(checkpoint)
    _check_size(checkpoint, recognised)
    state = {
        recognised.names[name]: checkpoint.read(name)
        for name in checkpoint.infos
        if name not in recognised.left_out
    }
    what = f"the weights of {recognised.architecture}"
    with blamed_on(checkpoint.source, what), quiet():
        if getattr(recognised.config, "quantization_config", None):
            model, fit = _with_quantized_layers(recognised, state, dtype)
        else:
            model, fit = _as_transformers_loads(recognised, state, dtype)
    if not fit:
        raise InputError(
            f"{checkpoint.source} does not fit {recognised.architecture}: {fit}",
            hint="name the config.json of the model with --model_config",
        )
    model.config.name_or_path = recognised.config.name_or_path
    model.eval()  # type: ignore[no-untyped-call]
    return model


def _make(recognised: Recognised) -> PreTrainedModel:
    kind = model_class(recognised.architecture, recognised.config)
    with no_init_weights():
        model = kind(recognised.config, **recognised.arguments)
    assert isinstance(model, PreTrainedModel)
    return model


def _check_size(checkpoint: Checkpoint, recognised: Recognised) -> None:
    """Refuse a configuration of far more than the file holds before memory is asked for it."""
    what = f"a configuration of {recognised.architecture}"
    with blamed_on(checkpoint.source, what), quiet(), torch.device("meta"):
        wanted = sum(parameter.numel() for parameter in _make(recognised).parameters())
    found = sum(info.count for info in checkpoint.infos.values())
    if wanted > 2 * found + 10_000_000:
        raise InputError(
            f"{checkpoint.source} does not fit {recognised.architecture}: its configuration "
            f"describes {wanted} parameters, the file holds {found}"
        )


def _as_transformers_loads(
    recognised: Recognised, state: _State, dtype: torch.dtype
) -> tuple[PreTrainedModel, _Fit]:
    """Transformers knows older names of its modules, and what is tied to what."""
    model, info = model_class(recognised.architecture, recognised.config).from_pretrained(
        None,
        config=recognised.config,
        state_dict=state,
        dtype=dtype,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **recognised.arguments,
    )
    return model, _Fit(
        missing=_needed(info["missing_keys"]),
        unexpected=_meant(info["unexpected_keys"]),
        reshaped=sorted((name, tuple(a), tuple(b)) for name, a, b in info["mismatched_keys"]),
    )


def _with_quantized_layers(
    recognised: Recognised, state: _State, dtype: torch.dtype
) -> tuple[PreTrainedModel, _Fit]:
    """Layers become quantized ones where the configuration says so, then all take their state."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        model = _make(recognised)
    finally:
        torch.set_default_dtype(default)
    make_quantized_layers(model, recognised.config.quantization_config)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    placed = {
        _placed(name, wanted, model.base_model_prefix): value for name, value in state.items()
    }
    reshaped = [
        (name, tuple(tensor.shape), wanted[name])
        for name, tensor in placed.items()
        if name in wanted and tuple(tensor.shape) != wanted[name]
    ]
    if reshaped:
        return model, _Fit(missing=[], unexpected=[], reshaped=reshaped)
    left = model.load_state_dict(placed, strict=False, assign=True)
    missing = set(left.missing_keys)
    _tie(model, missing)
    return model, _Fit(
        missing=_needed(missing), unexpected=_meant(left.unexpected_keys), reshaped=[]
    )


def _tie(model: PreTrainedModel, missing: set[str]) -> None:
    """Tie what the architecture ties; transformers ties parameters alone, so INT8 comes first."""
    every = model.all_tied_weights_keys
    tied = tie_int8(model)
    missing -= {f"{name.removesuffix('weight')}{end}" for name in tied for end in _TIED}
    model.all_tied_weights_keys = {name: of for name, of in every.items() if name not in tied}
    model.tie_weights(missing_keys=missing, recompute_mapping=False)
    model.all_tied_weights_keys = every


def _placed(name: str, wanted: Iterable[str], base: str) -> str:
    """The name in the model, which may have the base model inside or be the base model."""
    for candidate in (name, f"{base}.{name}", name.removeprefix(f"{base}.")):
        if candidate in wanted:
            return candidate
    return name


def _needed(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not name.endswith(_COUNTER))


def _meant(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not name.endswith(_COMPUTED))


def _dtype(checkpoint: Checkpoint) -> torch.dtype:
    """The floating-point type in which most of the checkpoint is stored."""
    sizes = {
        dtype: sum(info.bytes for info in checkpoint.infos.values() if info.dtype == dtype)
        for dtype in _FLOATS
    }
    return max(sizes, key=lambda dtype: sizes[dtype])


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
