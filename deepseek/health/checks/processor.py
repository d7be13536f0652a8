"""Instruction sets: what the processor offers, and whether torch makes use of it."""

from dataclasses import dataclass

from deepseek.health.check import Check, Observation, absent, trouble
from deepseek.health.checks.torch_facts import TORCH_LIMIT, no_torch, torch_facts
from deepseek.health.machine import Machine, plain
from deepseek.health.requirements import Kind

__all__ = ["CHECKS", "flags", "model"]

_ARCHITECTURES = {"x86_64": "x86", "amd64": "x86", "aarch64": "arm", "arm64": "arm"}
_FAMILIES = {"x86": "x86-64", "arm": "Arm"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Feature:
    """An instruction set.

    Attributes:
        id: The name of its check.
        title: Its name for people.
        ways: For each family of processors, the sets of flags of which one must be complete.
        without: What it means to lack it.
        sold: Where it is found.
    """

    id: str
    title: str
    ways: dict[str, tuple[frozenset[str], ...]]
    without: str
    sold: str


def _all(*names: str) -> frozenset[str]:
    return frozenset(names)


_AVX512 = _all("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

_FEATURES = (
    _Feature(
        id="avx2",
        title="AVX2",
        ways={"x86": (_all("avx2", "fma"),)},
        without="everything runs on 128-bit vectors, at half the width of AVX2 or less",
        sold="Intel since Haswell, AMD since Zen",
    ),
    _Feature(
        id="avx512",
        title="AVX-512",
        ways={"x86": (_AVX512,)},
        without="kernels run on 256-bit vectors: the same results at a lower peak rate",
        sold="Intel Xeon since Skylake-SP, AMD since Zen 4",
    ),
    _Feature(
        id="vnni",
        title="VNNI",
        ways={"x86": (_all("avx512_vnni"), _all("avx_vnni"))},
        without="an INT8 product takes three instructions instead of one: INT8 models still take"
        " a quarter of the memory, but gain less speed",
        sold="Intel Xeon since Cascade Lake, AMD since Zen 4",
    ),
    _Feature(
        id="bf16",
        title="BF16",
        ways={"x86": (_all("avx512_bf16"), _all("amx_bf16")), "arm": (_all("bf16"),)},
        without="BF16 is computed by way of FP32: it saves memory, not time",
        sold="Intel Xeon since Cooper Lake, AMD since Zen 4, Arm Neoverse V1",
    ),
    _Feature(
        id="amx",
        title="AMX",
        ways={"x86": (_all("amx_tile", "amx_int8", "amx_bf16"),)},
        without="matrix products run on vectors, not on tiles",
        sold="Intel Xeon since Sapphire Rapids",
    ),
    _Feature(
        id="neon",
        title="NEON",
        ways={"arm": (_all("asimd"),)},
        without="nothing is vectorised",
        sold="every 64-bit Arm processor",
    ),
    _Feature(
        id="dotprod",
        title="dot product",
        ways={"arm": (_all("asimddp"),)},
        without="INT8 products are widened first: INT8 models gain memory, hardly speed",
        sold="Arm Cortex-A76 and Neoverse N1 or later",
    ),
    _Feature(
        id="i8mm",
        title="I8MM",
        ways={"arm": (_all("i8mm"),)},
        without="INT8 matrix products run on dot products, at about half the peak rate",
        sold="Arm Neoverse V1 and N2 or later",
    ),
    _Feature(
        id="sve",
        title="SVE",
        ways={"arm": (_all("sve"),)},
        without="kernels run on 128-bit NEON vectors",
        sold="Arm Neoverse V1 and N2 or later",
    ),
)


def flags(machine: Machine) -> frozenset[str]:
    """What every logical processor of the machine can do, in the kernel's words."""
    lines = (machine.text("/proc/cpuinfo") or "").splitlines()
    pairs = (line.partition(":") for line in lines)
    sets = [
        frozenset(value.split()) for key, _, value in pairs if key.strip() in ("flags", "Features")
    ]
    return frozenset.intersection(*sets) if sets else frozenset()


def model(machine: Machine) -> str:
    """The processor's name; empty where the kernel does not say."""
    for line in (machine.text("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Processor"):
            return value.strip()
    return ""


def _family(machine: Machine) -> str:
    return _ARCHITECTURES.get(machine.architecture.lower(), machine.architecture)


def _check(feature: _Feature) -> Check:
    def look(machine: Machine) -> Observation:
        family = _family(machine)
        if family not in feature.ways:
            only = " and ".join(_FAMILIES[known] for known in feature.ways)
            return absent(f"only {only} processors have it; this is {machine.architecture}")
        there = flags(machine)
        if not there:
            return trouble("/proc/cpuinfo does not say what the processor can do")
        return _seen(feature, feature.ways[family], there)

    return Check(
        id=feature.id,
        group="processor",
        title=feature.title,
        kind=Kind.FEATURE,
        expects=_wording(feature),
        meaning=feature.without,
        look=look,
    )


def _wording(feature: _Feature) -> str:
    ways = [" ".join(sorted(way)) for family in feature.ways.values() for way in family]
    return f"{feature.title} ({' or '.join(ways)})"


def _seen(
    feature: _Feature, ways: tuple[frozenset[str], ...], there: frozenset[str]
) -> Observation:
    for way in ways:
        if way <= there:
            return Observation(found=" ".join(sorted(way)), value=True)
    part = max((way & there for way in ways), key=len)
    lacking = f"only {' '.join(sorted(part))}" if part else "not there"
    fix = f"use a processor that has it: {feature.sold}"
    if "hypervisor" in there:
        fix += "; a virtual machine shows it only with its host's processor passed through"
    return Observation(found=lacking, value=False, fix=fix)


# What torch's kernels need, the best first; it has none between these and plain ones.
_TORCH_NEEDS = {"AVX512": _AVX512, "AVX2": _all("avx2", "fma")}
_SVE_256 = "32"  # bytes in the vector that torch's SVE kernels are compiled for


def _rank(capability: str) -> int:
    """Higher is better; 0 for kernels without wide vectors."""
    best_last = [*reversed(_TORCH_NEEDS)]
    return best_last.index(capability) + 1 if capability in best_last else 0


def _torch_isa(machine: Machine) -> Observation:
    there, used = flags(machine), torch_facts(machine).capability
    if not there:
        return absent("/proc/cpuinfo does not say what the processor can do")
    if _family(machine) == "arm":
        length = machine.text("/proc/sys/abi/sve_default_vector_length")
        possible = "SVE256" if "sve" in there and length == _SVE_256 else "DEFAULT"
        fits = used.startswith("SVE") or possible == "DEFAULT"
    else:
        possible = next((name for name, needs in _TORCH_NEEDS.items() if needs <= there), "DEFAULT")
        fits = _rank(used) >= _rank(possible)
    if fits:
        return Observation(found=f"torch uses {used}", value=True)
    forced = plain(machine.environ.get("ATEN_CPU_CAPABILITY", ""))
    fix = "unset ATEN_CPU_CAPABILITY" if forced else "python -m pip install --upgrade torch"
    told = f" (ATEN_CPU_CAPABILITY={forced})" if forced else ""
    return Observation(
        found=f"torch uses {used}, the processor offers {possible}{told}", value=False, fix=fix
    )


CHECKS = (
    *(_check(feature) for feature in _FEATURES),
    Check(
        id="torch_isa",
        group="processor",
        title="torch's kernels",
        kind=Kind.FEATURE,
        expects="torch uses the widest vectors it has kernels for",
        meaning="torch runs below what the processor can do",
        look=_torch_isa,
        limit=TORCH_LIMIT + 1,
        after=("torch",),
        pointless=(no_torch,),
    ),
)
