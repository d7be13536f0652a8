"""What ``deepseek doctor`` can be told."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from deepseek.errors import InputError

__all__ = ["DoctorConfig", "parse_names"]


def parse_names(value: str | Iterable[str]) -> tuple[str, ...]:
    """Names as people list them: ``"torch,gloo"`` and ``["torch", "gloo"]`` are the same."""
    texts = [value] if isinstance(value, str) else value
    names = [name.strip().replace("-", "_") for text in texts for name in str(text).split(",")]
    return tuple(name for name in names if name)


@dataclass(kw_only=True, slots=True, frozen=True)
class DoctorConfig:
    """Which checks run, what they must find, and how the report is written.

    Attributes:
        profile: The set of requirements, from ``deepseek/configs/doctor.toml``.
        require: Single requirements that replace those of the profile.
        fail_on: The mildest status that fails the whole report.
        only: Identifiers of checks or groups; empty means all.
        list: Print the checks and profiles and run nothing.
        format: How the report is written.

    Raises:
        InputError: A list is asked for in a format that only a finished report has.
    """

    profile: Annotated[
        Literal["cpu", "cuda11", "cuda12", "ci"], "The set of requirements to hold the machine to."
    ] = "cpu"
    require: Annotated[
        tuple[str, ...],
        "One requirement in place of the profile's: 'cuda>=12', 'memory>=32GB', avx512, vnni=any;"
        " repeatable. Quote it: the shell takes > for itself.",
    ] = ()
    fail_on: Annotated[
        Literal["fail", "warn"], "The mildest status that ends the command with exit code 1."
    ] = "fail"
    only: Annotated[
        tuple[str, ...], "Run only these checks or groups: torch,gloo or processor.", parse_names
    ] = ()
    list: Annotated[bool, "Print the checks, groups and profiles, and run nothing."] = False
    format: Annotated[Literal["text", "json", "junit", "github"], "How the report is written."] = (
        "text"
    )

    def __post_init__(self) -> None:
        if self.list and self.format not in ("text", "json"):
            raise InputError(
                f"expected --format text or json together with --list, got {self.format}",
                hint="junit and github describe a report; leave --list away to get one",
            )
