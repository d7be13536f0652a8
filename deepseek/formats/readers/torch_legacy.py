"""Files of torch.save before 1.6: a row of pickles, then the storages. Read into memory whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import torch

from deepseek.errors import InputError
from deepseek.formats.checkpoint import Checkpoint
from deepseek.formats.pickles import load_weights_only
from deepseek.formats.readers.torch_named import named_checkpoint
from deepseek.formats.state_dict import find_state_dict

__all__ = ["read_torch_legacy"]


def read_torch_legacy(path: Path, allow_globals: Sequence[str] = ()) -> Checkpoint:
    """The checkpoint in a file of the older torch.save; it cannot be mapped, so it is all read.

    Raises:
        InputError: The file is damaged, or its pickles mention names that are not allowed.
    """
    saved = load_weights_only(
        path, pickles=_from_the_start, allow_globals=allow_globals, map_location="cpu"
    )
    found = find_state_dict(saved, path)
    for name, tensor in found.tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise InputError(f"{path}: {name} is sparse or quantized by torch: not read")
    return named_checkpoint(
        path,
        found,
        place=lambda tensor: tensor.untyped_storage().data_ptr(),
        read=lambda tensor: tensor.detach(),
    )


def _from_the_start(file: IO[bytes]) -> IO[bytes]:
    return file
