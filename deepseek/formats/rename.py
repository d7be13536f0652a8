"""Rename the tensors of a checkpoint: ``--map OLD=NEW``."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from deepseek.errors import InputError
from deepseek.formats.checkpoint import Checkpoint

__all__ = ["renamed", "rules_of"]

_REGEX = "re:"


@dataclass(frozen=True, slots=True)
class _Rule:
    """One ``--map`` as it was typed, and what it does to a name."""

    text: str
    apply: Callable[[str], str]


def rules_of(texts: Sequence[str]) -> tuple[_Rule, ...]:
    r"""Parse renames.

    Args:
        texts: Each ``OLD=NEW``: a name that is OLD or begins with ``OLD.`` gets NEW in its place;
            an empty NEW takes the prefix away. Or ``re:PATTERN=NEW``: every match of the regular
            expression is replaced, ``\1`` in NEW is its first group. The last ``=`` divides.

    Raises:
        InputError: There is no equals sign, nothing before it, or the pattern is malformed.
    """
    return tuple(_rule(text) for text in texts)


def renamed(checkpoint: Checkpoint, texts: Sequence[str]) -> Checkpoint:
    """The checkpoint under new names; nothing is read or copied.

    Rules apply in the order given, each to what the one before left.

    Raises:
        InputError: A rule is malformed or matches nothing, a name becomes empty, or two tensors
            would get the same name.
    """
    if not texts:
        return checkpoint
    names = {name: name for name in checkpoint.infos}
    for rule in rules_of(texts):
        after = {old: rule.apply(name) for old, name in names.items()}
        if after == names:
            raise _nothing_matched(rule, list(names.values()))
        names = after
    _refuse_collisions(names)
    old_names = {new: old for old, new in names.items()}
    return replace(
        checkpoint,
        infos={names[old]: info for old, info in checkpoint.infos.items()},
        read=lambda name: checkpoint.read(old_names[name]),
        shared={names[other]: names[kept] for other, kept in checkpoint.shared.items()},
        # safetensors keeps the names of shared tensors there, too
        metadata={k: v for k, v in checkpoint.metadata.items() if k not in checkpoint.shared},
    )


def _rule(text: str) -> _Rule:
    old, equals, new = text.rpartition("=")
    pattern = old.removeprefix(_REGEX) if old.startswith(_REGEX) else None
    if not equals or not (old if pattern is None else pattern):
        raise InputError(f"expected --map OLD=NEW or re:PATTERN=NEW, got {text!r}")
    if pattern is not None:
        return _Rule(text, _by_pattern(text, pattern, new))
    return _Rule(text, _by_prefix(old.rstrip("."), new.rstrip(".")))


def _by_pattern(text: str, pattern: str, new: str) -> Callable[[str], str]:
    try:
        compiled = re.compile(pattern)
        compiled.sub(new, "")  # refuses groups that the pattern lacks
    except (re.error, IndexError) as error:
        raise InputError(f"--map {text!r}: {error}") from error
    return lambda name: compiled.sub(new, name)


def _by_prefix(old: str, new: str) -> Callable[[str], str]:
    def apply(name: str) -> str:
        if name == old:
            return new
        if name.startswith(f"{old}."):
            rest = name.removeprefix(f"{old}.")
            return f"{new}.{rest}" if new else rest
        return name

    return apply


def _nothing_matched(rule: _Rule, names: Sequence[str]) -> InputError:
    prefixes = {".".join(name.split(".")[:n]) for name in names for n in range(1, 5)}
    close = get_close_matches(rule.text.rpartition("=")[0].rstrip("."), sorted(prefixes), n=1)
    return InputError(
        f"--map {rule.text!r} matches no tensor name",
        hint=f"did you mean {close[0]}?" if close else f"the first name is {names[0]}",
    )


def _refuse_collisions(names: Mapping[str, str]) -> None:
    taken: dict[str, str] = {}
    for old, new in names.items():
        if not new:
            raise InputError(f"--map leaves the tensor {old} without a name")
        if new in taken:
            raise InputError(f"--map gives two tensors the name {new}: {taken[new]} and {old}")
        taken[new] = old
