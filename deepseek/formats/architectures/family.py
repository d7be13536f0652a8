"""What a family of architectures says of itself, so that a checkpoint can be recognised."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deepseek.formats.architectures.shapes import Shapes

__all__ = ["Draft", "Family", "Head", "heads_of_width"]

# Widths of published models that keep to no rule: MiniLM has 12 heads of 32, TinyBERT 12 of 26.
_PUBLISHED_WIDTHS = {384: 32, 312: 26}
_USUAL_WIDTHS = (64, 32, 48, 96, 16, 8)


@dataclass(kw_only=True, slots=True)
class Draft:
    """A configuration as far as names and shapes tell it.

    Attributes:
        config: Fields of the family's configuration in transformers.
        notes: What had to be assumed, each a sentence.
    """

    config: dict[str, Any]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What a model class has besides the base model.

    Attributes:
        architecture: The class in transformers.
        needs: Names that must be there.
        prefixed: The names of the base model must carry its prefix.
        labels: The tensor whose rows are the labels.
        config: Fields that follow from the head.
        spare: Beginnings of names that older checkpoints carry and the class does not use.
        optional: Where the base model has this part or not: the name that tells, and the argument
            of the class that leaves it out.
        note: What the names leave open.
    """

    architecture: str
    needs: tuple[str, ...] = ()
    prefixed: bool = False
    labels: str | None = None
    config: tuple[tuple[str, Any], ...] = ()
    spare: tuple[str, ...] = ()
    optional: tuple[str, str] | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A family of architectures.

    Attributes:
        title: What people call it.
        model_type: What transformers calls it.
        base: The name of the base model inside the classes with a head.
        parts: First components of names in the base model; they tell names of a base model that
            was saved by itself.
        landmarks: Names that every member has, below the base.
        draft: The configuration from the shapes. Raises ``Differs`` where they contradict.
        heads: The model classes, the more particular ones first.
        canonical: From other names in use to the family's own.
        renames: Transformers does not know those other names itself.
    """

    title: str
    model_type: str
    base: str
    parts: tuple[str, ...]
    landmarks: tuple[str, ...]
    draft: Callable[[Shapes], Draft]
    heads: tuple[Head, ...]
    canonical: Callable[[str], str] = lambda name: name
    renames: bool = False


def heads_of_width(hidden: int, what: str) -> tuple[int, str]:
    """A number of attention heads that shapes do not tell, and the note that says so.

    Args:
        hidden: Size of all heads together.
        what: Whose convention is assumed: ``BERT``.
    """
    widths = (_PUBLISHED_WIDTHS.get(hidden), *_USUAL_WIDTHS, hidden)
    width = next(width for width in widths if width and hidden % width == 0)
    heads = hidden // width
    return heads, (
        f"assumed {heads} attention heads of {width}, as {what} models of width {hidden} "
        "usually have: shapes do not tell, --model_config settles it"
    )
