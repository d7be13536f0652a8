"""How long a kernel takes from its description to its first call, one JSON object a line.

    python benchmarks/kernels/compile_time.py

Each kernel is built, verified, compiled and linked without the cache on disk, then loaded from it;
and the package is imported after torch, in a fresh process.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from measure import record

from deepseek.kernels import current, jit
from deepseek.kernels.attend.backward import build_backward
from deepseek.kernels.attend.forward import build_forward
from deepseek.kernels.attend.pack import build_pack
from deepseek.kernels.attend.product import build_product
from deepseek.kernels.attend.spec import Form
from deepseek.kernels.cache import ObjectCache
from deepseek.kernels.gemm.driver import build_linear
from deepseek.kernels.gemm.grouped import build_grouped_microkernel
from deepseek.kernels.gemm.microkernel import build_microkernel
from deepseek.kernels.gemm.rows import build_rows
from deepseek.kernels.gemm.spec import Epilogue
from deepseek.kernels.gemm.tiles import build_tiled_microkernel
from deepseek.kernels.rows.norm_kernel import build_norm
from deepseek.kernels.rows.softmax_kernel import build_softmax
from deepseek.kernels.rows.spec import NormForm, SoftmaxForm

F32 = "float32"
FULL = Epilogue(F32, "gelu", F32, F32, F32)
KERNELS = {
    "linear fp32, all epilogues": (build_linear, "fp32", FULL),
    "linear int8, all epilogues": (build_linear, "u8s8", FULL),
    "microkernel fp32, 8 rows": (build_microkernel, "fp32", 8),
    "microkernel bf16 weights, 8 rows": (build_microkernel, "mixed", 8),
    "microkernel 4 bits, 8 rows": (build_grouped_microkernel, "w4g128", 8),
    "rows to int8": (build_rows, "u8s8", "asymmetric", F32),
    "attention": (build_forward, Form(F32, 64, 64, mask=F32)),
    "attention backward": (build_backward, Form(F32, 64, 64)),
    "attention product": (build_product,),
    "attention packing": (build_pack, F32, 64, 64, True),
    "layer norm": (build_norm, NormForm(True, F32, F32, F32, F32, F32, F32, "gelu")),
    "softmax": (build_softmax, SoftmaxForm(F32, F32, "bool", F32, scaled=True, held="out")),
}
if current().amx:
    KERNELS["microkernel AMX, 32 rows"] = (build_tiled_microkernel, "u8s8", 32, 16)
FROM_SOURCE, FROM_CACHE, IMPORT = 60e-3, 2e-3, 60e-3
IMPORTS = """
import time, torch
start = time.perf_counter()
from deepseek.kernels import attention, linear, pack_weight, softmax
print(time.perf_counter() - start)
"""


def seconds(run: Callable[[], object], rounds: int = 9) -> float:
    """Median CPU time of a call."""
    times = []
    for _ in range(rounds):
        start = time.thread_time()
        run()
        times.append(time.thread_time() - start)
    return median(times)


def measure(name: str, cache: ObjectCache) -> None:
    """Both ways to one kernel."""
    build, *options = KERNELS[name]
    target = current()

    def compiled() -> bytes:
        return jit.object_code(str(build(target, *options)), target)

    module = build(target, *options)
    cache.put(name, compiled())

    def link(code: bytes | None) -> object:
        assert code is not None
        return jit._link(module.name, code)  # noqa: SLF001 - what the cache saves is above it

    for how, run, bar in (
        ("without cache", lambda: link(compiled()), FROM_SOURCE),
        ("from the cache", lambda: link(cache.get(name)), FROM_CACHE),
    ):
        record(f"kernel {how}", {"kernel": name}, seconds(run), bar, unit="s", peer="bar", bar=1.0)


def main() -> None:
    """Measure everything; a ratio above 1 is below the bar's time."""
    with tempfile.TemporaryDirectory() as folder:
        cache = ObjectCache(Path(folder) / "kernels")
        for name in KERNELS:
            measure(name, cache)
    once = partial(subprocess.run, [sys.executable, "-c", IMPORTS], check=True, capture_output=True)
    took = median(float(once().stdout) for _ in range(5))
    record("import after torch", {}, took, IMPORT, unit="s", peer="bar", bar=1.0)


if __name__ == "__main__":
    main()
