"""Which format a file has, told by its content; its name only decides what an error says."""

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from deepseek.errors import InputError
from deepseek.formats.damage import blamed_on

__all__ = ["sniff"]

_LARGEST_MODEL_PROTO = 2**31  # protobuf refuses more
_TORCH_LEGACY = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # the number every such file begins with

_FOREIGN = {
    b"version https://git-lfs": (
        "a git-LFS pointer, not the file itself",
        "fetch the content with: git lfs pull",
    ),
    b"\x89HDF": ("an HDF5 file (Keras or TensorFlow weights)", "export it to safetensors first"),
    b"\x1f\x8b": ("compressed with gzip", "unpack it first"),
    b"\xfd7zXZ": ("compressed with xz", "unpack it first"),
    b"BZh": ("compressed with bzip2", "unpack it first"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it first"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "unpack it first"),
    b"\x93NUMPY": ("a numpy array", None),
    b"<!DOCTYPE": ("a web page, perhaps of a download that failed", "download it again"),
    b"<html": ("a web page, perhaps of a download that failed", "download it again"),
}


def sniff(path: Path) -> str:
    """The name of the format of a file: a key of the table of readers.

    Raises:
        InputError: The file is empty, or of a format that is not read.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise InputError(f"{path}: expected a checkpoint, the file is empty")
    if not head.strip(b"\0"):
        raise InputError(f"{path}: expected a checkpoint, the file begins with zeros")
    for magic, (what, hint) in _FOREIGN.items():
        if head.startswith(magic):
            raise InputError(f"{path}: expected a checkpoint, this is {what}", hint=hint)
    for name, matches in _FORMATS.items():
        if matches(path, head):
            return name
    raise InputError(
        f"{path}: of no format that is read (first bytes: {head[:8].hex(' ')})",
        hint="read are torch, safetensors, ONNX and GGUF files and Hugging Face folders",
    )


def _is_torch_zip(path: Path, head: bytes) -> bool:
    if not head.startswith(b"PK\x03\x04"):
        return False
    with blamed_on(path, "a zip archive"), zipfile.ZipFile(path) as archive:
        names = {PurePosixPath(name).name for name in archive.namelist()}
    if "constants.pkl" in names:
        raise InputError(
            f"{path}: a TorchScript program, expected a state dict",
            hint="load it with torch.jit.load and save its state_dict() with torch.save",
        )
    if "data.pkl" not in names:
        raise InputError(f"{path}: a zip archive, but not one that torch.save writes")
    return True


def _is_torch_legacy(path: Path, head: bytes) -> bool:
    if head[257:262] == b"ustar" and tarfile.is_tarfile(path):
        raise InputError(f"{path}: a tar archive; torch's format of 2016 is not read")
    is_pickle = head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")
    if head[8:9] == b"{":  # safetensors, whose header happens to have a length of 0x0280 to 0x0580
        return False
    if is_pickle and _TORCH_LEGACY not in head[:32]:
        raise InputError(
            f"{path}: a plain Python pickle, which can run any code and is never read",
            hint="expected a file of torch.save; save the tensors with it, or as safetensors",
        )
    return is_pickle


def _is_safetensors(path: Path, head: bytes) -> bool:
    return head[8:9] == b"{" or path.suffix == ".safetensors"


def _is_gguf(_path: Path, head: bytes) -> bool:
    return head.startswith(b"GGUF")


def _is_onnx(path: Path, head: bytes) -> bool:
    """ONNX has no magic: a model begins with field 1, its version, a small number."""
    begins_right = head[:1] == b"\x08" and b"\1" <= head[1:2] < b"\x40"
    return (begins_right or path.suffix == ".onnx") and path.stat().st_size < _LARGEST_MODEL_PROTO


_FORMATS: dict[str, Callable[[Path, bytes], bool]] = {
    "gguf": _is_gguf,
    "torch-zip": _is_torch_zip,
    "torch-legacy": _is_torch_legacy,
    "safetensors": _is_safetensors,
    "onnx": _is_onnx,
}
