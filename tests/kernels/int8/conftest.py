"""Processors that this machine is not: their kernels run with the odd instruction spelled out."""

import re

import pytest

from deepseek.kernels import jit
from deepseek.kernels.gemm import api
from deepseek.kernels.target import KNOWN, Target, host

# Instruction -> products a lane, bits of a factor, whether the activations have signs, and whether
# it adds to a total. The activations are the first factor but for Arm, where all have signs.
_DOT_PRODUCTS = {
    "llvm.x86.avx512.vpdpbusd.512": (4, 8, False, True),
    "llvm.x86.avx512.vpdpbusd.256": (4, 8, False, True),
    "llvm.x86.avx512.vpdpwssd.512": (2, 16, True, True),
    "llvm.x86.avx512.vpdpwssd.256": (2, 16, True, True),
    "llvm.x86.avx512.pmaddw.d.512": (2, 16, True, False),
    "llvm.aarch64.neon.sdot.v4i32.v16i8": (4, 8, True, True),
}
_FOREIGN = ["alderlake", "skylake-avx512", "icelake-server", "aarch64", "neoverse-n1"]


@pytest.fixture(params=_FOREIGN)
def foreign(request, monkeypatch, tmp_path) -> Target:
    """A processor that kernels are generated for, while their code is made to run on this one."""
    real = jit.object_code

    def spelled_out(text, target):
        return real(_spell_out(text), host())

    monkeypatch.setattr(jit, "object_code", spelled_out)
    monkeypatch.setattr(jit, "_kernels", {})
    monkeypatch.setenv("DEEPSEEK_CACHE", str(tmp_path))
    api._kernels.cache_clear()
    yield KNOWN[request.param]
    api._kernels.cache_clear()


def _spell_out(text: str) -> str:
    """The module with plain functions in place of the instructions of other processors."""
    text = re.sub(r'target triple = ".*"', f'target triple = "{host().triple}"', text)
    for name, meaning in _DOT_PRODUCTS.items():
        declaration = re.search(
            rf'^declare <(\d+) x i32> @"{re.escape(name)}"\((.*)\)$', text, re.MULTILINE
        )
        if declaration:
            lanes, kinds = int(declaration[1]), re.findall(r"<[^>]*>", declaration[2])
            text = text.replace(declaration[0], _definition(lanes, kinds, *meaning))
            text = text.replace(f'@"{name}"', f'@"{_name(lanes, kinds, meaning[0])}"')
    return text


def _definition(
    lanes: int, kinds: list[str], count: int, bits: int, signs: bool, adds: bool
) -> str:
    whole, wide = f"<{lanes} x i32>", f"<{lanes * count} x i32>"
    narrow = f"<{lanes * count} x i{bits}>"
    names = ["%total"] * adds + ["%x", "%w"]
    parameters = ", ".join(f"{kind} {name}" for kind, name in zip(kinds, names, strict=True))
    lines = [
        f'define internal {whole} @"{_name(lanes, kinds, count)}"({parameters}) {{',
        f"%x1 = bitcast {kinds[-2]} %x to {narrow}",
        f"%w1 = bitcast {kinds[-1]} %w to {narrow}",
        f"%x2 = {'sext' if signs else 'zext'} {narrow} %x1 to {wide}",
        f"%w2 = sext {narrow} %w1 to {wide}",
        f"%p = mul {wide} %x2, %w2",
    ]
    total = "%total" if adds else "zeroinitializer"
    for part in range(count):
        places = ", ".join(f"i32 {lane * count + part}" for lane in range(lanes))
        order = f"{whole} <{places}>"
        lines.append(f"%q{part} = shufflevector {wide} %p, {wide} poison, {order}")
        lines.append(f"%s{part} = add {whole} {total}, %q{part}")
        total = f"%s{part}"
    return "\n".join([*lines, f"ret {whole} {total}", "}"])


def _name(lanes: int, kinds: list[str], count: int) -> str:
    return f"spelled_out.{lanes}.{len(kinds)}.{count}"
