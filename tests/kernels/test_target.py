"""Choice of the target, and refusal of what the machine lacks."""

import subprocess
import sys

import pytest

from deepseek.kernels import target as targets
from deepseek.kernels.target import KNOWN, current, host, known, runs_here

RUNNABLE = [target for target in KNOWN.values() if runs_here(target)]
FOREIGN = [target for target in KNOWN.values() if not runs_here(target)]


def test_host_can_do_what_it_says():
    assert host().architecture in ("x86_64", "aarch64")
    assert host().lanes * 4 == host().vector_bytes
    assert RUNNABLE


@pytest.mark.parametrize("name", [target.name for target in RUNNABLE])
def test_environment_asks_for_less(monkeypatch, name):
    monkeypatch.setenv("DEEPSEEK_TARGET", name)
    assert current() is KNOWN[name]


@pytest.mark.parametrize("name", [target.name for target in FOREIGN])
def test_more_than_the_host_has_is_an_error(monkeypatch, error, name):
    monkeypatch.setenv("DEEPSEEK_TARGET", name)
    with pytest.raises(error, match=f"DEEPSEEK_TARGET={name} "):
        current()


def test_unknown_name_suggests_a_known_one(error):
    with pytest.raises(error, match="did you mean 'haswell'"):
        known("hasswell")


@pytest.mark.parametrize("name", ["", "host", "native"])
def test_words_for_the_host(monkeypatch, name):
    monkeypatch.setenv("DEEPSEEK_TARGET", name)
    assert current() is host()


def test_capabilities_follow_from_the_table():
    assert KNOWN["haswell"].fma
    assert not KNOWN["haswell"].vnni
    assert KNOWN["x86-64"].lanes == 4
    assert KNOWN["znver4"].bf16
    assert KNOWN["sapphirerapids"].amx
    assert not KNOWN["skylake-avx512"].vnni
    assert KNOWN["neoverse-n1"].dotprod


def test_importing_it_imports_neither_torch_nor_llvmlite():
    code = (
        f"import sys, {targets.__name__}\n"
        "print([name for name in ('torch', 'llvmlite') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
