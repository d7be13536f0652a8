"""Sets of requirements, from ``deepseek/configs/doctor.toml``, with single ones overridden."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from deepseek.errors import InputError
from deepseek.health.requirements import (
    Kind,
    Level,
    Requirement,
    Value,
    did_you_mean,
    parse_bounds,
    parse_requirement,
)

__all__ = ["KnownBad", "Wanted", "profile_summaries", "wanted"]

_LEVELS: tuple[Level, Level] = ("advise", "require")
_SIGNS = "<>=!"


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownBad:
    """A version that is known not to work.

    Attributes:
        version: As people write it.
        of: What it is a version of, as a requirement that exactly this version meets.
        why: What is known.
    """

    version: str
    of: Requirement
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What the machine is held to.

    Attributes:
        profile: The name of the profile it began with.
        summary: What that profile is for.
        requirements: By the name of the check.
        known_bad: Versions that deserve a warning whatever was asked for.
    """

    profile: str
    summary: str
    requirements: Mapping[str, Requirement]
    known_bad: tuple[KnownBad, ...] = ()

    def of(self, name: str) -> Requirement:
        """The requirement on a check; a waived one where nothing is asked."""
        return self.requirements.get(name) or Requirement(name=name, level=None)

    def known_bad_versions(self, name: str) -> list[str]:
        """The versions of ``name`` that are known not to work."""
        return [bad.version for bad in self.known_bad if bad.of.name == name]

    def known_trouble(self, name: str, found: Value | None) -> str:
        """Why the version ``found`` is known not to work; empty when it is not."""
        for bad in self.known_bad:
            if bad.of.name == name and found is not None and bad.of.met_by(found):
                return bad.why
        return ""


def profile_summaries() -> dict[str, str]:
    """Every profile, with one line on what it is for."""
    return {name: str(table["summary"]) for name, table in _load()["profile"].items()}


def wanted(profile: str, overrides: Iterable[str], kinds: dict[str, Kind]) -> Wanted:
    """The requirements of a profile, with single ones overridden.

    Args:
        profile: Its name.
        overrides: Requirements as given to ``--require``; later ones win.
        kinds: What each check finds, by the check's name.

    Raises:
        InputError: No such profile, or an override that cannot be read.
    """
    table = _load()
    if profile not in table["profile"]:
        names = list(table["profile"])
        raise InputError(
            f"--profile: expected one of {', '.join(names)}, got {profile!r}",
            hint=did_you_mean(profile, names),
        )
    chosen = table["profile"][profile]
    requirements = _requirements(table["common"], kinds, f"profile {profile}")
    requirements |= _requirements(chosen, kinds, f"profile {profile}")
    for text in _joined(overrides):
        requirement = parse_requirement(text, kinds, "--require")
        requirements[requirement.name] = requirement
    return Wanted(
        profile=profile,
        summary=str(chosen["summary"]),
        requirements=requirements,
        known_bad=tuple(_known_bad(entry, kinds) for entry in table["known_bad"]),
    )


def _load() -> dict[str, Any]:
    text = (files("deepseek") / "configs" / "doctor.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _requirements(
    table: Mapping[str, Any], kinds: dict[str, Kind], origin: str
) -> dict[str, Requirement]:
    found: dict[str, Requirement] = {}
    for level in _LEVELS:
        for name, text in table.get(level, {}).items():
            bounds = parse_bounds(name, text, kinds[name])
            found[name] = Requirement(name=name, level=level, bounds=bounds, origin=origin)
    for name in table.get("waive", ()):
        found[name] = Requirement(name=name, level=None, origin=origin)
    return found


def _known_bad(entry: Mapping[str, str], kinds: dict[str, Kind]) -> KnownBad:
    name, version = entry["check"], entry["version"]
    bounds = parse_bounds(name, f"=={version}", kinds[name])
    of = Requirement(name=name, level="advise", bounds=bounds)
    return KnownBad(version=version, of=of, why=entry["why"])


def _joined(texts: Iterable[str]) -> list[str]:
    """Put ``cuda>=11`` and ``<12`` together again where a list was split at its commas."""
    joined: list[str] = []
    for text in texts:
        if joined and text.strip()[:1] in _SIGNS:
            joined[-1] += f",{text}"
        else:
            joined.append(text)
    return joined
