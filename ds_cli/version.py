"""``--version``: the versions that matter, read from package metadata without importing them."""

import platform
from importlib.metadata import PackageNotFoundError, version

from deepseek import __version__

__all__ = ["version_text"]

_PACKAGES = (
    "torch",
    "llvmlite",
    "onnxruntime-gpu",
    "onnxruntime",
    "onnx",
    "transformers",
    "safetensors",
    "numpy",
)


def version_text() -> str:
    """One line for the toolkit, one for each package it stands on."""
    lines = [f"deepseek-toolkit {__version__}", f"python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    lines.append(f"{platform.system().lower()} {platform.machine()}")
    return "\n".join(lines)
