"""Machine code generated at run time: what runs per element, at the speed the machine has.

No compiler is needed. ``docs/kernels.md`` explains how a kernel is built.
"""
