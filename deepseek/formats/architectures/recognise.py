"""Tell the architecture of a checkpoint from the names and shapes of its tensors."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from transformers import PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from deepseek.errors import InputError
from deepseek.formats.architectures.family import Family, Head
from deepseek.formats.architectures.recognised import Recognised
from deepseek.formats.architectures.shapes import Differs, Shapes
from deepseek.formats.architectures.table import FAMILIES
from deepseek.formats.checkpoint import Checkpoint
from deepseek.formats.damage import reason

__all__ = ["left_out", "recognise_by_shapes", "shown_class"]

_NEAREST = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class _Named:
    """A checkpoint under the names of a family."""

    names: dict[str, str]
    prefixed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Miss:
    family: Family
    found: int
    difference: str

    @property
    def nearness(self) -> float:
        return self.found / len(self.family.landmarks)

    def __str__(self) -> str:
        total = len(self.family.landmarks)
        return f"{self.family.title} ({self.found} of {total} names; {self.difference})"


def recognise_by_shapes(checkpoint: Checkpoint) -> Recognised:
    """The architecture that names and shapes show, with what had to be assumed as notes.

    Raises:
        InputError: They are those of no family known here; the nearest ones are named.
    """
    misses: list[_Miss] = []
    for outer in _outer_prefixes(list(checkpoint.infos)):
        for family in FAMILIES:
            match = _matched(family, checkpoint, outer)
            if isinstance(match, Recognised):
                return match
            misses.append(match)
    raise _unknown(checkpoint, misses)


def shown_class(
    family: Family, checkpoint: Checkpoint, config: PretrainedConfig
) -> Recognised | None:
    """The class of a family that the names of a checkpoint show, if the configuration is known."""
    outers = _outer_prefixes(list(checkpoint.infos))
    outer = next(
        (one for one in outers if not _absent(family, _named(family, checkpoint, one))), ""
    )
    named = _named(family, checkpoint, outer)
    head = _head(family, named)
    return _answer(family, head, named, outer, config) if head else None


def left_out(family: Family, checkpoint: Checkpoint, architecture: str) -> frozenset[str]:
    """Names that a class of the family does not use, though older checkpoints carry them."""
    heads = (head for head in family.heads if head.architecture == architecture)
    spare = next((head.spare for head in heads), ())
    return _spare(_named(family, checkpoint, ""), spare)


def _matched(family: Family, checkpoint: Checkpoint, outer: str) -> Recognised | _Miss:
    named = _named(family, checkpoint, outer)
    sizes = {ours: checkpoint.infos[theirs].shape for theirs, ours in named.names.items()}
    theirs = {ours: theirs for theirs, ours in named.names.items()}
    absent = _absent(family, named)
    found = len(family.landmarks) - len(absent)
    if absent:
        return _Miss(family=family, found=found, difference=f"no {absent[0]}")
    shapes = Shapes(
        sizes,
        f"{family.base}.",
        shared={named.names[name] for name in checkpoint.shared},
        value=lambda name: checkpoint.read(theirs[name]).flatten().tolist(),
    )
    head = _head(family, named)
    try:
        draft = family.draft(shapes)
        if head is None:
            raise Differs("no head that is known")  # noqa: TRY301 - one way out for all of them
        config = CONFIG_MAPPING[family.model_type](
            architectures=[head.architecture],
            **{**draft.config, **dict(head.config), **_labels(head, shapes)},
        )
    except Differs as difference:
        return _Miss(family=family, found=found, difference=str(difference))
    except Exception as error:  # noqa: BLE001 - transformers checks what it is given
        return _Miss(family=family, found=found, difference=reason(error))
    answer = _answer(family, head, named, outer, config)
    found_out = f"recognised {head.architecture} by names and shapes"
    return replace(answer, notes=(found_out, *draft.notes, *_head_notes(head, shapes)))


def _answer(
    family: Family, head: Head, named: _Named, outer: str, config: PretrainedConfig
) -> Recognised:
    there = set(named.names.values())
    lacks = head.optional is not None and head.optional[0] not in there
    return Recognised(
        config=config,
        architecture=head.architecture,
        arguments={head.optional[1]: False} if head.optional and lacks else {},
        names={
            theirs: ours if family.renames else theirs.removeprefix(outer)
            for theirs, ours in named.names.items()
        },
        left_out=_spare(named, head.spare),
    )


def _spare(named: _Named, beginnings: tuple[str, ...]) -> frozenset[str]:
    return frozenset(
        theirs for theirs, ours in named.names.items() if beginnings and ours.startswith(beginnings)
    )


def _outer_prefixes(names: list[str]) -> Iterator[str]:
    """Nothing, then each component that all names begin with."""
    prefix = ""
    yield prefix
    while names:
        component = names[0].removeprefix(prefix).split(".")[0] + "."
        prefix += component
        if not all(name.startswith(prefix) for name in names):
            return
        yield prefix


def _named(family: Family, checkpoint: Checkpoint, outer: str) -> _Named:
    canonical = {name: family.canonical(name.removeprefix(outer)) for name in checkpoint.infos}
    base = f"{family.base}."
    prefixed = any(name.startswith(base) for name in canonical.values())
    if not prefixed:
        canonical = {
            theirs: base + ours if ours.split(".")[0] in family.parts else ours
            for theirs, ours in canonical.items()
        }
    return _Named(names=canonical, prefixed=prefixed)


def _absent(family: Family, named: _Named) -> list[str]:
    there = set(named.names.values())
    return [name for name in family.landmarks if f"{family.base}.{name}" not in there]


def _head(family: Family, named: _Named) -> Head | None:
    there = set(named.names.values())
    for head in family.heads:
        if there.issuperset(head.needs) and (named.prefixed or not head.prefixed):
            return head
    return None


def _labels(head: Head, shapes: Shapes) -> dict[str, Any]:
    rows = shapes.outside(head.labels) if head.labels else None
    return {"num_labels": rows[0]} if rows else {}


def _head_notes(head: Head, shapes: Shapes) -> Iterator[str]:
    if head.note:
        yield head.note
    rows = shapes.outside(head.labels) if head.labels else None
    if rows and rows[0] == 1:
        yield (
            "one label: taken for a regression, but a multiple choice has the same names: "
            "--model_config settles it"
        )
    elif rows:
        yield f"the names of the {rows[0]} labels are not in the weights"


def _unknown(checkpoint: Checkpoint, misses: list[_Miss]) -> InputError:
    hint = "name the config.json of the model with --model_config"
    best: dict[str, _Miss] = {}
    for miss in misses:
        if miss.family.title not in best or miss.nearness > best[miss.family.title].nearness:
            best[miss.family.title] = miss
    ranked = sorted(best.values(), key=lambda miss: -miss.nearness)
    near = [str(miss) for miss in ranked[:_NEAREST] if miss.found]
    if near:
        text = f"is of no architecture that is recognised; nearest: {', '.join(near)}"
    else:
        names = ", ".join(list(checkpoint.infos)[:3])
        known = ", ".join(family.title for family in FAMILIES)
        text = f"has names ({names}) of no architecture that is recognised: {known}"
    return InputError(f"{checkpoint.source} {text}", hint=hint)
