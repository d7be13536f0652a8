"""GGUF: plain tensors are mapped, quantized ones dequantized to float32 by the gguf package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepseek.errors import InputError
from deepseek.formats.checkpoint import Checkpoint, TensorInfo
from deepseek.formats.damage import blamed_on
from deepseek.formats.mapped import map_tensor
from deepseek.formats.readers.gguf_header import GgufTensor, read_gguf_header
from deepseek.formats.readers.gguf_names import (
    hugging_face_config,
    hugging_face_name,
    hugging_face_rows,
)

__all__ = ["read_gguf"]

_PLAIN = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
}
_ROPE_FACTORS = "rope_freqs.weight"
_TEXT_KEYS = ("general.architecture", "general.name", "general.license", "general.file_type")


def read_gguf(path: Path) -> Checkpoint:
    """The checkpoint in a GGUF file.

    A model of the Llama family gets the names, the row order and the configuration that
    transformers has for it; any other keeps what the file says.

    Raises:
        InputError: The file is damaged, or the gguf package is missing.
    """
    header = read_gguf_header(path)
    kinds = {name: _kind(path, name, tensor) for name, tensor in header.tensors.items()}
    shapes = {name: tensor.shape for name, tensor in header.tensors.items()}
    factors: list[float] | None = None
    if _ROPE_FACTORS in header.tensors:
        found = _tensor(path, header.tensors[_ROPE_FACTORS], kinds[_ROPE_FACTORS])
        factors = found.flatten().tolist()
    weights = {name: shape for name, shape in shapes.items() if name != _ROPE_FACTORS}
    config = hugging_face_config(header.metadata, weights, factors)
    kept = header.tensors if config is None else weights
    sources = {_new_name(name, config): name for name in kept}

    def read(name: str) -> torch.Tensor:
        source = sources[name]
        tensor = _tensor(path, header.tensors[source], kinds[source])
        return tensor if config is None else hugging_face_rows(source, tensor, config)

    return Checkpoint(
        source=path,
        format="gguf",
        infos={
            name: TensorInfo(shape=shapes[source], dtype=_PLAIN.get(kinds[source], torch.float32))
            for name, source in sources.items()
        },
        read=read,
        config=config,
        metadata={key: str(header.metadata[key]) for key in _TEXT_KEYS if key in header.metadata},
        files=(path,),
        notes=tuple(_notes(header.metadata, config, kinds)),
    )


def _new_name(name: str, config: Mapping[str, Any] | None) -> str:
    return name if config is None else hugging_face_name(name) or name


def _kind(path: Path, name: str, tensor: GgufTensor) -> str:
    """The name of a tensor's type, after checking that its data lie in the file."""
    constants = _gguf().constants
    try:
        kind = constants.GGMLQuantizationType(tensor.kind)
    except ValueError:
        raise InputError(f"{path}: {name} is of unknown GGUF type {tensor.kind}") from None
    block, _bytes = constants.GGML_QUANT_SIZES[kind]
    if tensor.shape and tensor.shape[-1] % block:
        raise InputError(
            f"{path}: rows of {name} are no multiple of {kind.name}'s block of {block}"
        )
    if tensor.offset + _length(tensor, kind.name) > path.stat().st_size:
        raise InputError(f"{path}: {name} reaches beyond the end of the file: damaged or cut off")
    return str(kind.name)


def _length(tensor: GgufTensor, kind: str) -> int:
    constants = _gguf().constants
    block, size = constants.GGML_QUANT_SIZES[constants.GGMLQuantizationType[kind]]
    return TensorInfo(shape=tensor.shape, dtype=torch.uint8).count // int(block) * int(size)


def _tensor(path: Path, tensor: GgufTensor, kind: str) -> torch.Tensor:
    if kind in _PLAIN:
        return map_tensor(path, offset=tensor.offset, dtype=_PLAIN[kind], shape=tensor.shape)
    gguf = _gguf()
    length = _length(tensor, kind)
    if not length:
        return torch.empty(tensor.shape)
    rows = map_tensor(path, offset=tensor.offset, dtype=torch.uint8, shape=(length,)).numpy()
    rows = rows.reshape(*tensor.shape[:-1], -1)
    what = f"tensors of type {kind} by the gguf package"
    with blamed_on(path, what), np.errstate(all="ignore"):
        values = gguf.quants.dequantize(rows, gguf.constants.GGMLQuantizationType[kind])
    return torch.from_numpy(values).reshape(tensor.shape)


def _notes(
    metadata: Mapping[str, Any], config: Mapping[str, Any] | None, kinds: Mapping[str, str]
) -> list[str]:
    notes = []
    quantized = sorted(set(kinds.values()) - set(_PLAIN))
    if quantized:
        notes.append(f"tensors of type {', '.join(quantized)} were dequantized to float32")
    if config is None:
        kind = metadata.get("general.architecture", "unnamed")
        notes.append(f"GGUF architecture {kind}: names are kept as they are, no configuration")
    return notes


def _gguf() -> Any:
    try:
        import gguf
    except ImportError:
        raise InputError(
            "reading GGUF needs the gguf package", hint="pip install 'deepseek-toolkit[gguf]'"
        ) from None
    return gguf
