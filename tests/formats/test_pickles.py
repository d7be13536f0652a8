"""Files that were made to run code: they are refused, and nothing in them ever runs."""

import builtins
import io
import os
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deepseek.errors import InputError
from deepseek.formats.open import open_checkpoint

_MARKER = "it_ran"


class _Payload:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self._call


def _touch(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


_PAYLOADS: dict[str, Callable[[Path], object]] = {
    "posix.system": lambda marker: _Payload(os.system, f"touch {marker}"),
    "builtins.exec": lambda marker: _Payload(builtins.exec, _touch(marker)),
    "builtins.eval": lambda marker: _Payload(builtins.eval, _touch(marker)),
    "builtins.getattr": lambda marker: _Payload(getattr, marker, "touch"),
    "pathlib.Path.touch": lambda marker: _Payload(Path.touch, marker),
    "io.open": lambda marker: _Payload(open, str(marker), "w"),
    "subprocess.Popen": lambda marker: _Payload(
        __import__("subprocess").Popen, ["touch", str(marker)]
    ),
    "torch.storage._load_from_bytes": lambda marker: _Payload(
        torch.storage._load_from_bytes,
        _saved({"x": _Payload(os.system, f"touch {marker}")}, new=True),
    ),
    "torch._tensor._rebuild_from_type_v2": lambda marker: _Payload(
        torch._tensor._rebuild_from_type_v2,
        builtins.exec,
        torch.Tensor,
        (_touch(marker),),
        {},
    ),
    "torch.serialization.load": lambda marker: _Payload(torch.serialization.load, str(marker)),
    "runpy._run_code": lambda marker: _Payload(
        __import__("runpy")._run_code, compile("1", "x", "eval") and _touch(marker), {}
    ),
}


# What a file mentions for a payload, where that is not the payload's name.
_MENTIONED = {
    "pathlib.Path.touch": "pathlib.",
    "subprocess.Popen": ".Popen",
    "torch._tensor._rebuild_from_type_v2": "builtins.exec",
}
# Payloads that are refused even when what they mention is allowed: they call what a call gave.
_STAY_REFUSED = ("pathlib.Path.touch", "torch._tensor._rebuild_from_type_v2")


def _saved(value: object, *, new: bool, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    return buffer.getvalue()


def _refused(path: Path, marker: Path, *, allow: tuple[str, ...] = ()) -> InputError:
    with pytest.raises(InputError) as caught:
        open_checkpoint(path, allow_globals=allow)
    assert not marker.exists()
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("name", _PAYLOADS)
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_a_payload_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, protocol: int, new: bool
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker, path = tmp_path / _MARKER, tmp_path / "model.pt"
    value = {"state_dict": {"w": torch.ones(2)}, "payload": _PAYLOADS[name](marker)}
    path.write_bytes(_saved(value, new=new, protocol=protocol))
    error = _refused(path, marker)
    assert _MENTIONED.get(name, name) in error.message


@pytest.mark.parametrize("name", _PAYLOADS)
@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_allowing_a_name_lets_it_through_and_runs_nothing(
    tmp_path: Path, name: str, new: bool
) -> None:
    marker, path = tmp_path / _MARKER, tmp_path / "model.pt"
    value = {"state_dict": {"w": torch.ones(2)}, "payload": _PAYLOADS[name](marker)}
    path.write_bytes(_saved(value, new=new))
    error = _refused(path, marker)
    allow = tuple((error.hint or "").split("--allow_global ")[1:])
    allow = tuple(one.strip() for one in allow)
    if "posix.system" in error.message:
        assert not allow
        assert "can run any command" in _refused(path, marker, allow=("posix.system",)).message
    elif name in _STAY_REFUSED:
        _refused(path, marker, allow=allow)
    else:
        checkpoint = open_checkpoint(path, allow_globals=allow)
        assert torch.equal(checkpoint.read("w"), torch.ones(2))
    assert not marker.exists()


def test_only_the_name_that_is_allowed_gets_through(tmp_path: Path) -> None:
    marker, path = tmp_path / _MARKER, tmp_path / "model.pt"
    value = {
        "state_dict": {"w": torch.ones(2)},
        "a": _PAYLOADS["builtins.exec"](marker),
        "b": _PAYLOADS["builtins.eval"](marker),
    }
    path.write_bytes(_saved(value, new=True))
    error = _refused(path, marker)
    assert "builtins.exec, builtins.eval" in error.message
    assert error.hint is not None
    assert error.hint.endswith("--allow_global builtins.exec --allow_global builtins.eval")
    error = _refused(path, marker, allow=("builtins.exec",))
    assert error.message.endswith(": builtins.eval")
    assert open_checkpoint(path, allow_globals=("builtins.exec", "builtins.eval")).infos
    assert not marker.exists()


def test_names_put_together_inside_the_pickle(tmp_path: Path) -> None:
    """STACK_GLOBAL with its strings out of the memo, or computed by another call."""
    marker, path = tmp_path / _MARKER, tmp_path / "model.pt"
    call = pickle.SHORT_BINUNICODE + _short(f"touch {marker}") + pickle.TUPLE1 + pickle.REDUCE
    from_memo = (
        pickle.SHORT_BINUNICODE + _short("system") + pickle.MEMOIZE + pickle.POP
        + pickle.SHORT_BINUNICODE + _short("posix") + pickle.BINGET + b"\0"
        + pickle.STACK_GLOBAL + call
    )  # fmt: skip
    computed = (
        pickle.GLOBAL + b"builtins\nstr\n" + pickle.SHORT_BINUNICODE + _short("posix")
        + pickle.TUPLE1 + pickle.REDUCE + pickle.SHORT_BINUNICODE + _short("system")
        + pickle.STACK_GLOBAL + call
    )  # fmt: skip
    old = b"(S'touch %s'\nios\nsystem\n" % os.fsencode(marker)
    for code, expected in (
        (from_memo, "posix.system"),
        (computed, "builtins.str, (a computed name)"),
        (old, "os.system"),
    ):
        pickled = pickle.PROTO + b"\4" + code + pickle.STOP
        if code is not old:
            assert [op.name for op, _, _ in pickletools.genops(pickled)][-1] == "STOP"
        _rewrite(path, {"data.pkl": pickled})
        error = _refused(path, marker)
        assert expected in error.message
        assert error.hint == "do not load this file; it was made to harm or is damaged"


def test_a_name_that_is_a_command_is_not_put_into_a_hint(tmp_path: Path) -> None:
    marker, path = tmp_path / _MARKER, tmp_path / "model.pt"
    code = pickle.PROTO + b"\2" + pickle.GLOBAL + b"a\nb;touch it_ran\n" + pickle.STOP
    _rewrite(path, {"data.pkl": code})
    error = _refused(path, marker)
    assert "a.b;touch it_ran" in error.message
    assert "touch" not in (error.hint or "")


def test_other_members_of_the_archive_are_not_looked_at(tmp_path: Path) -> None:
    marker, path = tmp_path / _MARKER, tmp_path / "model.pt"
    evil = pickle.dumps(_PAYLOADS["posix.system"](marker), protocol=2)
    _rewrite(path, {"evil.pkl": evil, "code/evil.py": _touch(marker).encode()})
    assert list(open_checkpoint(path).infos) == ["w"]
    assert not marker.exists()
    _rewrite(path, {"constants.pkl": evil})
    assert "TorchScript" in _refused(path, marker).message


@pytest.mark.parametrize("protocol", range(6))
def test_a_plain_pickle_is_never_read(tmp_path: Path, protocol: int) -> None:
    marker, path = tmp_path / _MARKER, tmp_path / "model.ckpt"
    path.write_bytes(pickle.dumps(_PAYLOADS["posix.system"](marker), protocol=protocol))
    error = _refused(path, marker)
    assert "never read" in error.message or "of no format that is read" in error.message


def test_a_payload_behind_the_magic_number_of_a_legacy_file(tmp_path: Path) -> None:
    marker, path = tmp_path / _MARKER, tmp_path / "model.pt"
    legacy = _saved({"w": torch.ones(2)}, new=False)
    magic_end = legacy.index(pickle.STOP) + 1
    evil = pickle.dumps(_PAYLOADS["posix.system"](marker), protocol=2)
    path.write_bytes(legacy[:magic_end] + evil + legacy[magic_end:])
    assert "posix.system" in _refused(path, marker).message


@pytest.mark.parametrize("name", ["exec", "a..b", "a.b c", "a.b\n", "", "os.system;x"])
def test_what_to_allow_must_be_a_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.pt"
    torch.save({"w": torch.ones(1)}, path)
    with pytest.raises(InputError, match=r"expected module\.name to allow"):
        open_checkpoint(path, allow_globals=(name,))


def _short(text: str) -> bytes:
    return struct.pack("B", len(text)) + text.encode()


def _rewrite(path: Path, members: dict[str, bytes]) -> None:
    """A file of torch.save with members replaced or added."""
    torch.save({"w": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        whole = {name: archive.read(name) for name in archive.namelist()}
    top = next(iter(whole)).split("/")[0]
    whole |= {f"{top}/{name}": data for name, data in members.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in whole.items():
            archive.writestr(name, data)
