from pathlib import Path

import pytest
import torch

from deepseek.errors import InputError
from deepseek.formats.checkpoint import Checkpoint, TensorInfo
from deepseek.formats.rename import renamed, rules_of


def _checkpoint(*names: str, **more: dict[str, str]) -> Checkpoint:
    tensors = {name: torch.full((1,), float(place)) for place, name in enumerate(names)}
    infos = {name: TensorInfo(shape=(1,), dtype=torch.float32) for name in names}
    return Checkpoint(source=Path("x"), format="hf", infos=infos, read=tensors.__getitem__, **more)


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        (("bert=encoder",), ["encoder.a", "encoder", "bertha.b"]),
        (("bert.=encoder.",), ["encoder.a", "encoder", "bertha.b"]),
        (("bert.a=x.y",), ["x.y", "bert", "bertha.b"]),
        (("bertha=",), ["bert.a", "bert", "b"]),
        (("bertha=c", "c.b=d"), ["bert.a", "bert", "d"]),
        ((r"re:^bert\.(\w)$=\1.bert",), ["a.bert", "bert", "bertha.b"]),
        ((r"re:(?=ha)=+",), ["bert.a", "bert", "bert+ha.b"]),
    ],
)
def test_rules(rules: tuple[str, ...], names: list[str]) -> None:
    found = renamed(_checkpoint("bert.a", "bert", "bertha.b"), rules)
    assert list(found.infos) == names
    assert [found.read(name).item() for name in names] == [0, 1, 2]


def test_two_names_can_change_places() -> None:
    found = renamed(_checkpoint("a", "b"), ("a=c", "b=a", "c=b"))
    assert (found.read("a").item(), found.read("b").item()) == (1, 0)


def test_shared_tensors_stay_shared_under_their_new_names() -> None:
    checkpoint = _checkpoint(
        "w.a", "w.b", shared={"w.b": "w.a"}, metadata={"w.b": "w.a", "format": "pt"}
    )
    found = renamed(checkpoint, ("w=v",))
    assert found.shared == {"v.b": "v.a"}
    assert found.metadata == {"format": "pt"}


def test_no_rules_change_nothing() -> None:
    checkpoint = _checkpoint("a")
    assert renamed(checkpoint, ()) is checkpoint


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("bert", "expected --map OLD=NEW"),
        ("=new", "expected --map OLD=NEW"),
        ("re:=new", "expected --map OLD=NEW"),
        ("re:(=x", "missing \\)"),
        (r"re:(a)=\2", "invalid group reference"),
        (r"re:a=\g<b>", "unknown group name"),
    ],
)
def test_malformed_rules_are_refused(rule: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rules_of((rule,))


def test_a_rule_without_a_match_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(InputError, match="'bret=x' matches no tensor name") as caught:
        renamed(_checkpoint("bert.a.b", "head.b"), ("bret=x",))
    assert caught.value.hint == "did you mean bert?"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("re:.$=x", "two tensors the name a.x: a.b and a.c"),
        ("d=", "leaves the tensor d without a name"),
    ],
)
def test_names_stay_distinct(rule: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        renamed(_checkpoint("a.b", "a.c", "d"), (rule,))
