from collections.abc import Callable
from typing import Any

import pytest

from deepseek.health.check import Observation
from deepseek.health.checks import CHECKS
from deepseek.health.checks.processor import flags, model
from deepseek.health.machine import Machine

Fake = Callable[..., Machine]
BY_ID = {check.id: check for check in CHECKS}

SAPPHIRE_RAPIDS = """\
processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8480+
flags\t\t: fpu sse4_2 fma avx avx2 avx512f avx512dq avx512cd avx512bw avx512vl avx_vnni \
avx512_bf16 avx512_vnni amx_bf16 amx_tile amx_int8
"""
ZEN_3 = """\
processor\t: 0
model name\t: AMD EPYC 7763 64-Core Processor
flags\t\t: fpu sse4_2 fma avx avx2 hypervisor vaes

processor\t: 1
model name\t: AMD EPYC 7763 64-Core Processor
flags\t\t: fpu sse4_2 fma avx avx2 hypervisor vaes
"""
ZEN_4 = ZEN_3.replace("vaes", "avx512f avx512dq avx512cd avx512bw avx512vl avx512_bf16 avx512_vnni")
ALDER_LAKE = ZEN_3.replace("vaes", "avx_vnni")
KNIGHTS_LANDING = ZEN_3.replace("vaes", "avx512f avx512cd avx512er avx512pf")
NEHALEM = "processor : 0\nflags : fpu sse4_2\n"
GRAVITON_3 = """\
processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd aes asimdhp asimddp sve i8mm bf16
CPU implementer\t: 0x41
"""
CORTEX_A72 = "processor : 0\nFeatures : fp asimd aes crc32\n"

X86 = ("avx2", "avx512", "vnni", "bf16", "amx")
ARM = ("neon", "dotprod", "i8mm", "sve", "bf16")


def look(machine: Machine, check: str) -> Observation:
    return BY_ID[check].look(machine)


@pytest.mark.parametrize(
    ("cpuinfo", "there"),
    [
        (SAPPHIRE_RAPIDS, {"avx2", "avx512", "vnni", "bf16", "amx"}),
        (ZEN_4, {"avx2", "avx512", "vnni", "bf16"}),
        (ZEN_3, {"avx2"}),
        (ALDER_LAKE, {"avx2", "vnni"}),
        (KNIGHTS_LANDING, {"avx2"}),
        (NEHALEM, set()),
    ],
)
def test_instruction_sets_of_x86(fake: Fake, cpuinfo: str, there: set[str]) -> None:
    machine = fake({"/proc/cpuinfo": cpuinfo})
    assert {name: look(machine, name).value for name in X86} == {n: n in there for n in X86}


@pytest.mark.parametrize(
    ("cpuinfo", "there"),
    [(GRAVITON_3, {"neon", "dotprod", "i8mm", "sve", "bf16"}), (CORTEX_A72, {"neon"})],
)
@pytest.mark.parametrize("architecture", ["aarch64", "arm64"])
def test_instruction_sets_of_arm(
    fake: Fake, architecture: str, cpuinfo: str, there: set[str]
) -> None:
    machine = fake({"/proc/cpuinfo": cpuinfo}, architecture=architecture)
    assert {name: look(machine, name).value for name in ARM} == {n: n in there for n in ARM}


def test_what_only_the_other_family_has_is_not_missed(fake: Fake) -> None:
    on_x86 = look(fake({"/proc/cpuinfo": ZEN_3}), "sve")
    assert (on_x86.value, on_x86.broken) == (None, False)
    assert on_x86.found == "only Arm processors have it; this is x86_64"
    on_arm = look(fake({"/proc/cpuinfo": GRAVITON_3}, architecture="aarch64"), "avx512")
    assert on_arm.found == "only x86-64 processors have it; this is aarch64"
    elsewhere = look(fake(architecture="riscv64"), "bf16")
    assert elsewhere.found == "only x86-64 and Arm processors have it; this is riscv64"


def test_a_part_of_avx512_is_not_enough(fake: Fake) -> None:
    seen = look(fake({"/proc/cpuinfo": KNIGHTS_LANDING}), "avx512")
    assert seen.found == "only avx512cd avx512f"
    assert "passed through" in seen.fix


def test_every_processor_must_have_it(fake: Fake) -> None:
    mixed = f"{ZEN_4}\nprocessor : 2\nflags : fpu fma avx2\n"
    assert flags(fake({"/proc/cpuinfo": mixed})) == {"fpu", "fma", "avx2"}


@pytest.mark.parametrize("files", [{}, {"/proc/cpuinfo": ""}, {"/proc/cpuinfo": "\x00\x01 : :"}])
def test_an_unreadable_cpuinfo_is_reported(fake: Fake, files: dict[str, str]) -> None:
    machine = fake(files)
    seen = look(machine, "avx2")
    assert (seen.value, seen.broken) == (None, True)
    assert "/proc/cpuinfo" in seen.found
    assert model(machine) == ""


def test_the_name_of_the_processor(fake: Fake) -> None:
    assert model(fake({"/proc/cpuinfo": SAPPHIRE_RAPIDS})) == "Intel(R) Xeon(R) Platinum 8480+"


@pytest.mark.parametrize(
    ("cpuinfo", "capability", "fits"),
    [
        (ZEN_3, "AVX2", True),
        (ZEN_4, "AVX512", True),
        (ZEN_4, "AVX2", False),
        (ZEN_3, "DEFAULT", False),
        (KNIGHTS_LANDING, "AVX2", True),
        (NEHALEM, "NO AVX", True),
        (NEHALEM, "DEFAULT", True),
    ],
)
def test_torch_uses_what_the_processor_offers(
    fake: Fake, torch_answer: Callable[..., Any], cpuinfo: str, capability: str, fits: bool
) -> None:
    machine = fake({"/proc/cpuinfo": cpuinfo}, torch_answer(capability=capability))
    seen = look(machine, "torch_isa")
    assert seen.value is fits
    assert capability in seen.found


@pytest.mark.parametrize(
    ("length", "capability", "fits"),
    [("32", "SVE256", True), ("32", "DEFAULT", False), ("16", "DEFAULT", True)],
)
def test_torch_on_arm(
    fake: Fake, torch_answer: Callable[..., Any], length: str, capability: str, fits: bool
) -> None:
    files = {"/proc/cpuinfo": GRAVITON_3, "/proc/sys/abi/sve_default_vector_length": length}
    machine = fake(files, torch_answer(capability=capability), architecture="aarch64")
    assert look(machine, "torch_isa").value is fits


def test_a_torch_that_is_told_to_use_less(fake: Fake, torch_answer: Callable[..., Any]) -> None:
    machine = fake({"/proc/cpuinfo": ZEN_4}, torch_answer(capability="DEFAULT"),
                   environ={"ATEN_CPU_CAPABILITY": "default"})  # fmt: skip
    seen = look(machine, "torch_isa")
    assert seen.found.endswith("the processor offers AVX512 (ATEN_CPU_CAPABILITY=default)")
    assert seen.fix == "unset ATEN_CPU_CAPABILITY"
