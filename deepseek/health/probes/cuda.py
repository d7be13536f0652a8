"""Compute something on every GPU that torch sees."""

import json
import sys
from typing import Any

__all__ = ["facts"]

_SIZE = 256


def facts() -> dict[str, Any]:
    """The devices that computed rightly, or the problem with the first that did not."""
    import torch

    if not torch.cuda.is_available():
        return {"devices": [], "problem": "torch sees no GPU"}
    devices: list[str] = []
    for index in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(index)
        name = f"{torch.cuda.get_device_name(index)} (sm_{major}{minor})"
        problem = _compute(torch, index)
        if problem:
            return {"devices": devices, "problem": f"{name}: {problem}"}
        devices.append(name)
    return {"devices": devices, "problem": None}


def _compute(torch: Any, index: int) -> str | None:
    try:
        ones = torch.ones(_SIZE, _SIZE, device=f"cuda:{index}")
        total = (ones @ ones).sum().item()
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    return None if total == _SIZE**3 else f"a product of ones added up to {total}"


if __name__ == "__main__":
    sys.stdout.write(f"\n{json.dumps(facts())}\n")
