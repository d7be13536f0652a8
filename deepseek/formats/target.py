"""What is to be written and where, settled before anything is read."""

from dataclasses import dataclass
from pathlib import Path

from deepseek.errors import InputError
from deepseek.formats.config import ConvertConfig

__all__ = ["Target", "target_of"]

_REPORT = ".report.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Format:
    """How outputs of a format are named, and which options mean something for it."""

    suffixes: tuple[str, ...]
    folder: bool = False
    options: tuple[str, ...] = ()
    companions: tuple[str, ...] = (_REPORT,)


_FORMATS = {
    "safetensors": _Format(suffixes=(".safetensors",), folder=True, options=("shard_size",)),
    "torch": _Format(suffixes=(".pt", ".pth", ".bin", ".ckpt")),
    "onnx": _Format(
        suffixes=(".onnx",), options=("opset", "max_error"), companions=(".data", _REPORT)
    ),
    "hf": _Format(suffixes=(), folder=True, options=("shard_size", "tokenizer")),
}
_FORMAT_OF = {suffix: name for name, kind in _FORMATS.items() for suffix in kind.suffixes}
_OPTIONS = ("shard_size", "opset", "max_error", "tokenizer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is to be written and where.

    Attributes:
        format: ``safetensors``, ``torch``, ``hf`` or ``onnx``.
        dest: The file or folder.
        is_folder: Whether ``dest`` becomes a folder.
        companions: Endings of the files that may lie beside a single file.
    """

    format: str
    dest: Path
    is_folder: bool
    companions: tuple[str, ...]

    def report_of(self, place: Path) -> Path:
        """Where the report of an output at ``place`` lies: inside a folder, beside a file."""
        return place / "report.json" if self.is_folder else place.with_name(place.name + _REPORT)


def target_of(config: ConvertConfig) -> Target:
    """Settle format and place, from ``--to`` and the ending of DEST.

    Raises:
        InputError: The ending is unknown or contradicts ``--to``; an option means nothing for the
            format; DEST is SOURCE or lies inside it.
    """
    name = config.to or _format_by_ending(config.dest)
    kind = _FORMATS[name]
    suffix = config.dest.suffix.lower()
    is_folder = kind.folder and suffix not in _FORMAT_OF
    if not is_folder and suffix not in kind.suffixes:
        endings = [*kind.suffixes, *(["nothing (a folder)"] if kind.folder else [])]
        raise InputError(
            f"expected DEST for {name} to end in {' or '.join(endings)}, got {config.dest.name}"
        )
    _refuse_strange_options(config, name)
    if config.shard_size is not None and not is_folder:
        raise InputError(
            f"expected a folder for shards, got {config.dest.name}",
            hint=f"--to safetensors with DEST {config.dest.stem}",
        )
    _refuse_source(config.source, config.dest)
    companions = () if is_folder else kind.companions
    return Target(format=name, dest=config.dest, is_folder=is_folder, companions=companions)


def _format_by_ending(dest: Path) -> str:
    suffix = dest.suffix.lower()
    if suffix and suffix not in _FORMAT_OF:
        raise InputError(
            f"expected DEST to end in one of {' '.join(_FORMAT_OF)} or in nothing, got {dest.name}",
            hint="--to says the format; a folder may be named anything with --to hf",
        )
    return _FORMAT_OF.get(suffix, "hf")


def _refuse_strange_options(config: ConvertConfig, name: str) -> None:
    for option in _OPTIONS:
        if getattr(config, option) is not None and option not in _FORMATS[name].options:
            meant = [other for other, kind in _FORMATS.items() if option in kind.options]
            raise InputError(f"--{option} is for {' and '.join(meant)}, the target is {name}")


def _refuse_source(source: Path, dest: Path) -> None:
    real_source, real_dest = source.resolve(), dest.resolve()
    if real_dest == real_source:
        raise InputError(f"expected DEST to be another place than SOURCE, both are {source}")
    if real_source in real_dest.parents:
        raise InputError(f"expected DEST outside of SOURCE, {dest} lies inside {source}")
    if real_dest in real_source.parents:
        raise InputError(f"expected DEST beside SOURCE, but {source} lies inside {dest}")
