"""The table of readers, by the format that the content of a file shows."""

from collections.abc import Callable
from pathlib import Path

from deepseek.formats.checkpoint import Checkpoint
from deepseek.formats.readers.gguf_file import read_gguf
from deepseek.formats.readers.onnx_file import read_onnx
from deepseek.formats.readers.safetensors_file import read_safetensors
from deepseek.formats.readers.torch_legacy import read_torch_legacy
from deepseek.formats.readers.torch_zip import read_torch_zip
from deepseek.formats.sniff import sniff

__all__ = ["read_file"]

_READERS: dict[str, Callable[[Path], Checkpoint]] = {
    "gguf": read_gguf,
    "onnx": read_onnx,
    "safetensors": read_safetensors,
}
_PICKLE_READERS: dict[str, Callable[[Path, tuple[str, ...]], Checkpoint]] = {
    "torch-legacy": read_torch_legacy,
    "torch-zip": read_torch_zip,
}


def read_file(path: Path, allow_globals: tuple[str, ...] = ()) -> Checkpoint:
    """The checkpoint in one file of any format, under the names the file has.

    Args:
        path: The file.
        allow_globals: Names (``module.name``) that a pickle may mention besides torch's own.

    Raises:
        InputError: The file is of no format that is read, or damaged.
    """
    kind = sniff(path)
    if kind in _PICKLE_READERS:
        return _PICKLE_READERS[kind](path, allow_globals)
    return _READERS[kind](path)
