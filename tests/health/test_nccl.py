import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepseek.health.check import Observation
from deepseek.health.checks import CHECKS
from deepseek.health.elf import ElfError, matching_constant
from deepseek.health.machine import Machine

Fake = Callable[..., Machine]
Answer = Callable[..., dict[str, Any]]
BY_ID = {check.id: check for check in CHECKS}
HEADER = struct.Struct("<4sBBBBB7xHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
# what surrounds the version in the library that was looked at (2.32.3 of the cu12 package)
SENTENCES = b"Prints NCCL version information only.\0NCCL version information\0"


def library(constants: bytes, *, name: bytes = b".rodata") -> bytes:
    """A shared library of three sections: nothing, constants, and the names of the sections."""
    names = b"\0" + name + b"\0.shstrtab\0"
    constants_at = HEADER.size
    names_at = constants_at + len(constants)
    table_at = names_at + len(names)
    header = HEADER.pack(b"\x7fELF", 2, 1, 1, 0, 0, 3, 62, 1, 0, 0, table_at, 0, 64, 0, 0,
                         SECTION.size, 3, 2)  # fmt: skip
    sections = [
        SECTION.pack(*[0] * 10),
        SECTION.pack(1, 1, 2, 0, constants_at, len(constants), 0, 0, 1, 0),
        SECTION.pack(2 + len(name), 3, 0, 0, names_at, len(names), 0, 0, 1, 0),
    ]
    return header + constants + names + b"".join(sections)


def nccl(version: str) -> bytes:
    return library(SENTENCES + f"NCCL version {version}\0".encode() + b"more\0")


def look(machine: Machine, check: str) -> Observation:
    return BY_ID[check].look(machine)


@pytest.mark.parametrize("name", ["libnccl.so", "libnccl.so.2", "libnccl.so.2.18.3"])
@pytest.mark.parametrize(
    "folder",
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/lib", "/usr/local/cuda/lib64"],
)
def test_the_version_is_read_from_the_file(fake: Fake, folder: str, name: str) -> None:
    seen = look(fake({f"{folder}/{name}": nccl("2.18.3+cuda12.1")}), "system_nccl")
    assert seen.value == (2, 18, 3)
    assert seen.found == f"2.18.3+cuda12.1 ({folder}/{name})"


def test_an_old_version(fake: Fake) -> None:
    assert look(fake({"/usr/lib/libnccl.so.2": nccl("2.7.8+cuda11.0")}), "system_nccl").value == (
        2, 7, 8,
    )  # fmt: skip


def test_the_library_that_the_loader_would_take_counts(fake: Fake) -> None:
    files = {
        "/usr/lib/libnccl.so.2": nccl("2.7.8"),
        "/opt/configured/libnccl.so.2": nccl("2.10.3"),
        "/etc/ld.so.conf.d/nccl.conf": "# comment\n/opt/configured\ninclude x\n",
        "/opt/asked/libnccl.so.2": nccl("2.20.5"),
    }
    assert look(fake(files), "system_nccl").value == (2, 10, 3)
    asked = fake(files, environ={"LD_LIBRARY_PATH": "/nowhere::/opt/asked"})
    assert look(asked, "system_nccl").value == (2, 20, 5)


def test_no_library(fake: Fake) -> None:
    seen = look(fake(), "system_nccl")
    assert (seen.value, seen.broken) == (None, False)
    assert "no libnccl.so" in seen.found


GOOD = nccl("2.18.3+cuda12.1")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is too short for a library"),
        (GOOD[:40], "is too short for a library"),
        (GOOD[:-1], "is truncated or damaged: its section table lies outside the file"),
        (GOOD[: len(GOOD) // 2], "its section table lies outside the file"),
        (b"\x7fELF\x01\x01" + GOOD[6:], "is not for a 64-bit little-endian processor"),
        (b"\x7fELF\x02\x02" + GOOD[6:], "is not for a 64-bit little-endian processor"),
        (b"MZ" + GOOD[2:], "is no ELF file"),
        (b"/* GNU ld script */ GROUP ( libnccl.so.2 )".ljust(100), "is no ELF file"),
        (GOOD[:0x28] + struct.pack("<Q", 2**63) + GOOD[0x30:], "lies outside the file"),
        (GOOD[:0x28] + struct.pack("<Q", 0) + GOOD[0x30:], "has no section table"),
        (GOOD[:0x3E] + struct.pack("<H", 9) + GOOD[0x40:], "lies outside the file"),
        (library(b"nothing of interest\0"), "does not say its version"),
        (library(SENTENCES), "does not say its version"),
        (library(b"NCCL version 2.18.3\0", name=b".text"), "does not say its version"),
    ],
)
def test_a_damaged_library_is_called_so(fake: Fake, content: bytes, reason: str) -> None:
    seen = look(fake({"/usr/lib/libnccl.so.2": content}), "system_nccl")
    assert seen.broken
    assert seen.found.startswith("/usr/lib/libnccl.so.2")
    assert reason in seen.found


def test_constants_that_lie_outside_the_file(tmp_path: Path) -> None:
    import re

    content = bytearray(GOOD)
    entry = len(content) - 2 * SECTION.size
    fields = list(SECTION.unpack_from(content, entry))
    fields[5] = 2**62
    SECTION.pack_into(content, entry, *fields)
    path = tmp_path / "libnccl.so"
    path.write_bytes(content)
    with pytest.raises(ElfError, match="its constants lie outside the file"):
        matching_constant(path, re.compile(b"NCCL version (.*)"))


def test_every_truncation_is_told_or_harmless(fake: Fake, tmp_path: Path) -> None:
    for length in range(len(GOOD)):
        seen = look(fake({"/usr/lib/libnccl.so.2": GOOD[:length]}), "system_nccl")
        assert seen.broken


def test_nccl_of_torch(fake: Fake, torch_answer: Answer) -> None:
    seen = look(fake({}, torch_answer(nccl=[2, 27, 3])), "nccl")
    assert (seen.value, seen.found) == ((2, 27, 3), "2.27.3, part of torch")
    without = look(fake({}, torch_answer()), "nccl")
    assert (without.value, without.found) == (None, "torch 2.13.0+cpu is built without NCCL")
