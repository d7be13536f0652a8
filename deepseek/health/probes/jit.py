"""Compile a small function with LLVM for this processor, and run it."""

import ctypes
import json
import sys
import time
from typing import Any

__all__ = ["compile_and_run"]

_COUNT = 1000


def compile_and_run() -> dict[str, Any]:
    """Versions, times, and the sum of squares that the compiled loop computed.

    Raises:
        ArithmeticError: It computed something else.
    """
    begin = time.perf_counter()
    import llvmlite
    from llvmlite import binding, ir

    imported = time.perf_counter()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), opt=2
    )
    module = binding.parse_assembly(_sum_of_squares(ir))
    module.verify()
    engine = binding.create_mcjit_compiler(module, target)
    engine.finalize_object()
    address = engine.get_function_address("sum_of_squares")
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)
    result = function(_COUNT)
    if result != sum(n * n for n in range(_COUNT)):
        raise ArithmeticError(f"the compiled loop gave {result}")
    return {
        "version": llvmlite.__version__,
        "seconds": imported - begin,
        "llvm": ".".join(map(str, binding.llvm_version_info)),
        "processor": binding.get_host_cpu_name(),
        "compile_seconds": time.perf_counter() - imported,
    }


def _sum_of_squares(ir: Any) -> str:
    word = ir.IntType(64)
    module = ir.Module(name="doctor")
    function = ir.Function(module, ir.FunctionType(word, [word]), name="sum_of_squares")
    before, loop, after = (function.append_basic_block(name) for name in ("in", "loop", "out"))
    ir.IRBuilder(before).branch(loop)
    builder = ir.IRBuilder(loop)
    index, total = builder.phi(word), builder.phi(word)
    next_total = builder.add(total, builder.mul(index, index))
    next_index = builder.add(index, word(1))
    for value, first, following in ((index, 0, next_index), (total, 0, next_total)):
        value.add_incoming(word(first), before)
        value.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", next_index, function.args[0]), loop, after)
    ir.IRBuilder(after).ret(next_total)
    return str(module)


if __name__ == "__main__":
    sys.stdout.write(f"\n{json.dumps(compile_and_run())}\n")
