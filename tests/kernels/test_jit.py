"""From IR to code that runs: verification, caches, dumps, names."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deepseek.kernels import jit
from deepseek.kernels.cache import default_cache
from deepseek.kernels.emit import Arguments, Module
from deepseek.kernels.gemm.driver import build_linear
from deepseek.kernels.gemm.grouped import build_grouped_microkernel
from deepseek.kernels.gemm.microkernel import build_microkernel
from deepseek.kernels.gemm.rows import build_rows
from deepseek.kernels.gemm.spec import FORMATS, Epilogue, GroupedFormat, int8_format, tile_for
from deepseek.kernels.target import KNOWN, host

ARGUMENTS = Arguments(x="pointer", factor="float", count="int")
GOLDEN = Path(__file__).parent / "golden"


def build_scale(target, step=1):
    """x[i] *= factor, a register a unit."""
    module = Module("test_scale", target)
    with module.task(ARGUMENTS) as f:
        x = f.array(f.arguments.x)
        factor = f.arguments.factor.splat(f.lanes)
        for block in f.range(f.begin, f.end, step):
            x.store(x.load(block * f.lanes) * factor, block * f.lanes)
    return module


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """An empty cache on disk and in memory."""
    monkeypatch.setenv("DEEPSEEK_CACHE", str(tmp_path))
    monkeypatch.setattr(jit, "_kernels", {})
    return default_cache()


def scale(kernel, lanes):
    x = np.arange(4 * lanes, dtype=np.float32)
    kernel.call(ARGUMENTS.pack(x.ctypes.data, 2.5, 0), 1, 3)
    return x


def expected(lanes):
    x = np.arange(4 * lanes, dtype=np.float32)
    x[lanes : 3 * lanes] *= 2.5
    return x


def test_runs_the_units_asked_for(target, fresh):
    kernel = jit.kernel(build_scale, target=target)
    np.testing.assert_array_equal(scale(kernel, target.lanes), expected(target.lanes))
    assert kernel.name == "test_scale"
    assert kernel.address > 0


def test_compiled_once_and_found_again(fresh, monkeypatch):
    first = jit.kernel(build_scale)
    assert jit.kernel(build_scale) is first
    assert jit.kernel(build_scale, 1) is not first
    assert len(list(fresh.directory.glob("*.o"))) == 2

    def unused(text, target):
        raise AssertionError("compiled again")

    monkeypatch.setattr(jit, "_kernels", {})
    monkeypatch.setattr(jit, "object_code", unused)
    again = jit.kernel(build_scale)
    np.testing.assert_array_equal(scale(again, host().lanes), expected(host().lanes))


def test_module_is_found_by_its_text(fresh):
    module = build_scale(host())
    assert jit.compile_module(module) is jit.compile_module(build_scale(host()))
    assert len(list(fresh.directory.glob("*.o"))) == 1


@pytest.mark.parametrize("content", [b"", b"dsk1 and nonsense"])
def test_corrupt_entry_is_built_again(fresh, monkeypatch, content):
    jit.kernel(build_scale)
    (entry,) = fresh.directory.glob("*.o")
    whole = entry.read_bytes()
    entry.write_bytes(content)
    monkeypatch.setattr(jit, "_kernels", {})
    np.testing.assert_array_equal(
        scale(jit.kernel(build_scale), host().lanes), expected(host().lanes)
    )
    assert entry.read_bytes() == whole


def test_works_without_a_cache(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEEPSEEK_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(jit, "_kernels", {})
    kernel = jit.kernel(build_scale)
    np.testing.assert_array_equal(scale(kernel, host().lanes), expected(host().lanes))


def test_targets_do_not_share_code(fresh):
    names = ["x86-64", "haswell"] if host().architecture == "x86_64" else ["aarch64", "neoverse-n1"]
    code = {jit.object_code(str(build_scale(KNOWN[name])), KNOWN[name]) for name in names}
    assert len(code) == 2


def test_invalid_module_is_refused():
    text = 'target triple = "x86_64-unknown-linux-gnu"\ndefine void @f() { ret i32 0 }'
    with pytest.raises(RuntimeError, match=r"(?i)return type|parsing"):
        jit.object_code(text, KNOWN["haswell"])


def test_dump(fresh, monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPSEEK_DUMP_IR", str(tmp_path / "dump"))
    jit.kernel(build_scale)
    assert "define void @" in (tmp_path / "dump" / "test_scale.ll").read_text()
    assert "test_scale:" in (tmp_path / "dump" / "test_scale.s").read_text()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if "g32" in name or "g64" in name else [])
     for name in FORMATS],
)  # fmt: skip
def test_linear_compiles_for_every_target(known, name):
    """Also for processors that this is not; and nothing in it calls a library."""
    wanted = {"bf16": "bf16", "u8s8": "vnni", "s8s8": "dotprod"}.get(name)
    if wanted and not getattr(known, wanted):
        pytest.skip(f"the processor has no {wanted} products")
    scheme = FORMATS[name]
    grouped = isinstance(scheme, GroupedFormat)
    microkernel = build_grouped_microkernel if grouped else build_microkernel
    modules = [
        build_linear(known, name, Epilogue("bfloat16", "gelu", "bfloat16", "float32", "bfloat16")),
        microkernel(known, name, 1),
        microkernel(known, name, tile_for(known).rows),
    ]
    if scheme.quantized:
        roundings = ["blocks"] if grouped else ["symmetric", "asymmetric"]
        modules += [build_rows(known, name, rounding, "bfloat16") for rounding in roundings]
    for module in modules:
        text = jit.assembly(str(module), known)
        words = [line.split()[:2] for line in text.splitlines()]
        called = {line[1] for line in words if line[:1] in (["callq"], ["bl"])}
        internal = {function.name for function in module.ir.functions if function.blocks}
        assert {name for name in called if not name.startswith("*")} <= internal


def test_microkernels_use_what_the_processor_has():
    def text(name, scheme):
        return jit.assembly(str(build_microkernel(KNOWN[name], scheme, 4)), KNOWN[name])

    assert "vfmadd231ps" in text("haswell", "fp32")
    assert "%zmm" in text("skylake-avx512", "fp32")
    assert "vdpbf16ps" in text("znver4", "bf16")
    assert "fmla" in text("neoverse-n1", "fp32")
    assert "mulps" in text("x86-64", "fp32")
    assert "vfmadd" not in text("x86-64", "fp32")


@pytest.mark.parametrize(
    ("name", "products", "pairs"),
    [
        ("x86-64", "pmaddwd", "pmaddwd"),
        ("haswell", "vpmaddwd", "vpmaddwd"),
        ("alderlake", "{vex}\tvpdpbusd", "{vex}\tvpdpwssd"),
        ("skylake-avx512", "vpmaddwd", "vpmaddwd"),
        ("icelake-server", "\tvpdpbusd", "\tvpdpwssd"),
        ("aarch64", "mla\t", "mla\t"),
        ("neoverse-n1", "sdot\t", "mla\t"),
    ],
)
def test_integer_products_use_what_the_processor_has(name, products, pairs):
    known = KNOWN[name]
    wide = "%zmm" if known.avx512 else "%ymm" if known.avx2 else "%xmm"
    for module, expected in (
        (build_microkernel(known, int8_format(known).name, 4), products),
        (build_grouped_microkernel(known, "w4g128", 4), pairs),
        (build_grouped_microkernel(known, "w8g128", 4), pairs),
    ):
        text = jit.assembly(str(module), known)
        assert expected in text
        assert wide in text or known.architecture != "x86_64"


@pytest.mark.parametrize("name", ["haswell", "alderlake", "icelake-server", "neoverse-n1"])
def test_sums_of_integers_stay_in_registers(name):
    known = KNOWN[name]
    module = build_microkernel(known, int8_format(known).name, tile_for(known).rows)
    lines = jit.assembly(str(module), known).splitlines()
    assert not [line for line in lines if "mm" in line and "(%rsp" in line]
    assert not [line for line in lines if "[sp" in line and "q" in line.split()[1]]


@pytest.mark.parametrize("name", ["haswell", "znver4"])
@pytest.mark.parametrize("scheme", ["fp32", "mixed"])
def test_sums_stay_in_registers(name, scheme):
    known = KNOWN[name]
    text = jit.assembly(str(build_microkernel(known, scheme, tile_for(known).rows)), known)
    assert "Spill" not in text


def test_golden_ir(request):
    """The IR of a small kernel, whole; delete the file to accept a change."""
    text = str(build_scale(KNOWN["haswell"]))
    path = GOLDEN / "scale.haswell.ll"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


_COMPILE_AND_RUN = """
import ctypes
from deepseek.kernels import jit
from deepseek.kernels.emit import Arguments, Module, math

ARGUMENTS = Arguments(x="pointer")

def build(target, name):
    module = Module(name, target)
    with module.task(ARGUMENTS) as f:
        x = f.array(f.arguments.x)
        x.store(getattr(math, name)(x.load()))
    return module

for name in ("exp2", "tanh", "sigmoid", "relu", "log", "erf"):
    x = (ctypes.c_float * 16)(*[1.0] * 16)
    jit.kernel(build, name).call(ARGUMENTS.pack(ctypes.addressof(x)), 0, 1)
    assert abs(x[0] - {"exp2": 2.0, "tanh": 0.7616, "sigmoid": 0.7311, "relu": 1.0, "log": 0.0,
                       "erf": 0.8427}[name]) < 1e-4
"""


def test_eight_processes_share_a_cache(tmp_path):
    environment = {**os.environ, "DEEPSEEK_CACHE": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", _COMPILE_AND_RUN]
    for damage in (False, True):
        if damage:
            for number, entry in enumerate((tmp_path / "kernels").glob("*.o")):
                entry.write_bytes(entry.read_bytes()[: 40 * number])
        workers = [
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(8)
        ]
        assert [worker.communicate(timeout=100)[1] for worker in workers] == [b""] * 8
        assert len(list((tmp_path / "kernels").glob("*.o"))) == 6


_SCATTER = """
import ctypes, mmap
from deepseek.kernels import jit
jit._compiler()
size, step = 1 << 38, 1 << 32
hall = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
begin = ctypes.addressof(ctypes.c_char.from_buffer(hall))
plugs = [mmap.mmap(-1, 4096) for _ in range(4000)]  # in all gaps that there are
unmap = ctypes.CDLL(None).munmap
unmap.argtypes = ctypes.c_void_p, ctypes.c_size_t
for place in range(begin + step, begin + size, step):
    unmap(place, 4096)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for gaps as Linux does")
def test_free_pages_may_lie_far_apart(tmp_path):
    """Code and its constants stay within reach of one another."""
    text = _SCATTER + _COMPILE_AND_RUN + "\nimport os; os._exit(7)"  # not to unmap the gaps
    environment = {**os.environ, "DEEPSEEK_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (7, b"")
