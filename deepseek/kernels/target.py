"""What a processor can do, as far as the kernels care.

A target names a processor for LLVM and says which instructions a kernel may use. The host's target
is found once; ``DEEPSEEK_TARGET=haswell`` makes every kernel of the process ask for less, so that
all code paths can be tested and compared on one machine. Asking for more than the host has is an
:class:`~deepseek.errors.InputError`: such code would die with an illegal instruction.
"""

import os
import platform
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache, lru_cache

from deepseek.errors import InputError

__all__ = ["KNOWN", "Target", "current", "host", "known", "runs_here"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A processor that kernels are generated for.

    Attributes:
        name: How people call it; what ``DEEPSEEK_TARGET`` takes.
        architecture: ``x86_64`` or ``aarch64``.
        cpu: The name LLVM knows it by.
        features: LLVM features added to the processor's own, as ``+a,-b``.
        vector_bytes: Width of the widest vector register worth using.
        registers: How many such registers there are.
        fma: Fused multiply-add of fp32 vectors.
        rounding: A vector instruction that rounds fp32 to an integral value.
        avx2: 256-bit integer vectors.
        vnni: Four u8 x s8 products a lane, in registers of any width (``vpdpbusd``).
        bf16: AVX-512 BF16, two bf16 products a lane (``vdpbf16ps``).
        amx: AMX, tiles of 16 rows of 64 bytes and their products of int8 and bf16.
        dotprod: Arm's four s8 products a lane (``sdot``).
        i8mm: Arm's u8 x s8 products (``usdot``) and 2x2 matrix products.
        needs: Features that the host must have to run code made for this target.
    """

    name: str
    architecture: str
    cpu: str
    features: str = ""
    vector_bytes: int = 16
    registers: int = 16
    fma: bool = False
    rounding: bool = False
    avx2: bool = False
    vnni: bool = False
    bf16: bool = False
    amx: bool = False
    dotprod: bool = False
    i8mm: bool = False
    needs: frozenset[str] = field(default_factory=frozenset)

    @property
    def avx512(self) -> bool:
        """512-bit vectors with their mask registers."""
        return self.vector_bytes == 64

    @property
    def lanes(self) -> int:
        """How many fp32 values a vector register holds."""
        return self.vector_bytes // 4

    @property
    def triple(self) -> str:
        """LLVM's name of the machine that the code is made for."""
        return f"{self.architecture}-unknown-linux-gnu"


_SSE2 = frozenset({"sse2"})
_AVX2 = _SSE2 | {"sse4.1", "avx", "avx2", "fma", "f16c", "bmi2", "lzcnt", "movbe"}
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_VNNI = _AVX512 | {"avx512vnni"}
_BF16 = _VNNI | {"avx512bf16"}
_AMX = frozenset({"amx-tile", "amx-int8", "amx-bf16"})
_NEON = frozenset({"neon"})
_DOTPROD = _NEON | {"dotprod"}
_I8MM = _DOTPROD | {"i8mm", "bf16"}


def _x86(name: str, needs: frozenset[str], *, cpu: str = "") -> Target:
    wide = needs >= _AVX512
    return Target(
        name=name,
        architecture="x86_64",
        cpu=cpu or name,
        vector_bytes=64 if wide else 32 if needs >= _AVX2 else 16,
        registers=32 if wide else 16,
        fma="fma" in needs,
        rounding="sse4.1" in needs,
        avx2="avx2" in needs,
        vnni=("avx512vnni" if wide else "avxvnni") in needs,
        bf16="avx512bf16" in needs,
        amx=needs >= _AMX,
        needs=needs,
    )


def _arm(name: str, needs: frozenset[str], *, cpu: str = "") -> Target:
    return Target(
        name=name,
        architecture="aarch64",
        cpu=cpu or name,
        vector_bytes=16,
        registers=32,
        fma=True,
        rounding=True,
        dotprod="dotprod" in needs,
        i8mm="i8mm" in needs,
        needs=needs,
    )


KNOWN: dict[str, Target] = {
    target.name: target
    for target in (
        _x86("x86-64", _SSE2),
        _x86("haswell", _AVX2),
        _x86("znver3", _AVX2 | {"sha", "vaes", "clzero"}),
        _x86("alderlake", _AVX2 | {"avxvnni", "gfni", "sha", "vaes"}),
        _x86("skylake-avx512", _AVX512),
        _x86("cascadelake", _VNNI),
        _x86("icelake-server", _VNNI | {"avx512vbmi"}),
        _x86("cooperlake", _BF16),
        _x86("znver4", _BF16 | {"avx512vbmi", "clzero"}),
        _x86("sapphirerapids", _BF16 | _AMX | {"avx512vbmi", "avx512fp16"}),
        _arm("aarch64", _NEON, cpu="generic"),
        _arm("neoverse-n1", _DOTPROD),
        _arm("neoverse-v1", _I8MM),
        _arm("neoverse-v2", _I8MM),
    )
}
"""Targets by name. The order within an architecture is from the least to the most able."""


def known(name: str) -> Target:
    """The target called ``name``, whether or not this machine can run its code.

    Raises:
        InputError: No target has that name.
    """
    if name not in KNOWN:
        near = get_close_matches(name, KNOWN, n=1)
        raise InputError(
            f"unknown kernel target {name!r}; known: {', '.join(KNOWN)}",
            hint=f"did you mean {near[0]!r}?" if near else None,
        )
    return KNOWN[name]


@lru_cache(maxsize=1)
def host() -> Target:
    """The target of this machine: the ablest known one whose needs it meets, tuned for its CPU."""
    from llvmlite import binding

    architecture = {"AMD64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine(), platform.machine()
    )
    features = dict(binding.get_host_cpu_features())
    has = frozenset(name for name, present in features.items() if present)
    fitting = [
        target
        for target in KNOWN.values()
        if target.architecture == architecture and target.needs <= has
    ]
    if not fitting:
        raise InputError(
            f"kernels are made for x86-64 and 64-bit Arm processors, this one is {architecture}"
        )
    ablest = max(fitting, key=lambda target: (target.vector_bytes, len(target.needs)))
    return replace(
        ablest,
        name="host",
        cpu=binding.get_host_cpu_name(),
        features=features_text(features),
        vnni=("avx512vnni" if ablest.avx512 else "avxvnni") in has,
        bf16="avx512bf16" in has and ablest.avx512,
        amx=has >= _AMX,
        needs=has,
    )


def features_text(features: dict[str, bool]) -> str:
    """LLVM's spelling of a table of features, in a fixed order."""
    return ",".join(f"{'+' if on else '-'}{name}" for name, on in sorted(features.items()))


def runs_here(target: Target) -> bool:
    """Whether this machine can run code made for ``target``; for all others it can be generated."""
    return target.architecture == host().architecture and target.needs <= host().needs


def current() -> Target:
    """The target that kernels are generated for: ``DEEPSEEK_TARGET``, else the host.

    Raises:
        InputError: The name is unknown, or this machine lacks what the target needs.
    """
    return _chosen(os.environ.get("DEEPSEEK_TARGET", ""))


@cache
def _chosen(name: str) -> Target:
    machine = host()
    if name in ("", "host", "native"):
        return machine
    target = known(name)
    if target.architecture != machine.architecture:
        raise InputError(
            f"DEEPSEEK_TARGET={name} is for {target.architecture}, this machine is "
            f"{machine.architecture}",
            hint="unset DEEPSEEK_TARGET to use what the machine has",
        )
    if not runs_here(target):
        missing = ", ".join(sorted(target.needs - machine.needs))
        raise InputError(
            f"DEEPSEEK_TARGET={name} needs {missing}, which this machine lacks",
            hint="unset DEEPSEEK_TARGET to use what the machine has",
        )
    return target
