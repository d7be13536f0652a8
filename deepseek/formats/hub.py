"""The Hugging Face hub: only the files of a model that are read, and never code."""

from pathlib import Path

from deepseek.errors import InputError
from deepseek.formats.damage import reason

__all__ = ["fetch"]

_SMALL_FILES = ["*.json", "*.txt", "*.model"]
_SECONDS = 10.0


def fetch(name: str) -> Path:
    """The folder with the files of ``org/model``, out of the cache or fetched now.

    Raises:
        InputError: The hub does not have it, or cannot be reached and the cache has nothing.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        files = [
            file.rfilename for file in HfApi().model_info(name, timeout=_SECONDS).siblings or ()
        ]
        weights = "*.safetensors" if any(f.endswith(".safetensors") for f in files) else "*.bin"
        return Path(
            snapshot_download(name, allow_patterns=[*_SMALL_FILES, weights], etag_timeout=_SECONDS)
        )
    except Exception as error:  # noqa: BLE001 - the network fails in many ways
        cached = _cached(name)
        if cached is not None:
            return cached
        raise InputError(
            f"expected a checkpoint, found nothing at {name}, and the Hugging Face hub gave none "
            f"({reason(error)})",
            hint="name a file or a folder, or fetch the model where the hub can be reached",
        ) from None


def _cached(name: str) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except Exception:  # noqa: BLE001 - whatever is wrong with the cache, it does not have it
        return None
