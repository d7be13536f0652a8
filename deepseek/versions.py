"""The versions that matter to a result, read from package metadata without importing anything."""

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__", "versions"]

_PACKAGES = (
    "torch",
    "transformers",
    "safetensors",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "llvmlite",
    "numpy",
)


def versions() -> dict[str, str]:
    """The version of the toolkit, of Python, and of every package here that results depend on."""
    found = {"deepseek-toolkit": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        installed = _version(package)
        if installed is not None:
            found[package] = installed
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


__version__ = _version("deepseek-toolkit") or "0.0.0"  # a source tree that was never installed
