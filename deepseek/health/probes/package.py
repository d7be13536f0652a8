"""Import one package and say which version it is and how long that took."""

import importlib
import json
import sys
import time
from typing import Any

__all__ = ["facts"]


def facts(name: str) -> dict[str, Any]:
    """Version and time to import."""
    begin = time.perf_counter()
    package = importlib.import_module(name)
    seconds = time.perf_counter() - begin
    return {"version": str(package.__version__), "seconds": seconds}


if __name__ == "__main__":
    sys.stdout.write(f"\n{json.dumps(facts(sys.argv[1]))}\n")
