"""What a configuration dataclass says about itself: keys, types, help, parsers, defaults.

A field is declared once, in the library::

    max_drop: Annotated[float, "Largest accepted loss of accuracy", parse_share] = 0.005

The text is its help, the function its parser of text. Flags, keys in TOML files and environment
variables all come from there. A field whose type is a dataclass opens a table of its own, and its
keys are dotted: ``calibration.samples``.
"""

from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["ConfigField", "fields_of", "with_values"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigField:
    """One key of a configuration.

    Attributes:
        key: The dotted name.
        kind: The type without ``Annotated`` and without ``None``.
        help: One line for people.
        parser: Turns text into the value, where the type alone does not say how.
        default: The value when nobody gives one; None together with ``required``.
        required: True when there is no default.
        optional: True when the value may be None.
    """

    key: str
    kind: Any
    help: str
    parser: Callable[[Any], Any] | None
    default: Any
    required: bool
    optional: bool

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values, where the type is a ``Literal``."""
        return tuple(get_args(self.kind)) if get_origin(self.kind) is Literal else ()

    @property
    def is_list(self) -> bool:
        """Whether the value is a sequence of values."""
        return get_origin(self.kind) in (list, tuple)


def fields_of(config: type, prefix: str = "") -> dict[str, ConfigField]:
    """The keys of a configuration dataclass, nested tables flattened, in order of declaration."""
    hints = get_type_hints(config, include_extras=True)
    found: dict[str, ConfigField] = {}
    for field in fields(config):
        key = prefix + field.name
        kind, texts, parsers, optional = _unwrap(hints[field.name])
        if is_dataclass(kind):
            assert isinstance(kind, type)
            found |= fields_of(kind, prefix=f"{key}.")
            continue
        found[key] = ConfigField(
            key=key,
            kind=kind,
            help=" ".join(texts),
            parser=next(iter(parsers), None),
            default=_default_of(field),
            required=field.default is MISSING and field.default_factory is MISSING,
            optional=optional,
        )
    return found


def with_values(config: type, values: dict[str, Any], prefix: str = "") -> Any:
    """Build a configuration from values by dotted key; keys left out keep their defaults."""
    hints = get_type_hints(config)
    arguments = {}
    for field in fields(config):
        key = prefix + field.name
        if is_dataclass(hints[field.name]):
            arguments[field.name] = with_values(hints[field.name], values, f"{key}.")
        elif key in values:
            arguments[field.name] = values[key]
    return config(**arguments)


def _unwrap(hint: Any) -> tuple[Any, list[str], list[Callable[[Any], Any]], bool]:
    metadata: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        metadata = tuple(rest)
    kinds = list(_members(hint))
    optional = NoneType in kinds
    kinds = [kind for kind in kinds if kind is not NoneType]
    kind = kinds[0] if len(kinds) == 1 else hint
    texts = [item for item in metadata if isinstance(item, str)]
    return kind, texts, [item for item in metadata if callable(item)], optional


def _members(hint: Any) -> Iterator[Any]:
    if get_origin(hint) in (Union, UnionType):
        yield from get_args(hint)
    else:
        yield hint


def _default_of(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None
