"""How long BERT-base takes from its weights to the first answer, beside TorchInductor.

    python benchmarks/compiler/compile_time.py

Each figure is of a process of its own that loads the model, and then is timed from ``compile`` to
the end of the first call, with empty caches or with those of the process before. Inductor runs as
it comes, without frozen weights, which compiles faster; it alone needs a C++ compiler, and may take
minutes: for each figure it makes one process with empty caches, and one that meets a new shape.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from models import MODELS, make

sys.path.insert(0, str(Path(__file__).parents[2]))  # measuring is shared with other rooms

import deepseek
from benchmarks.kernels.measure import record

SHAPE, OTHER = (2, 64), (3, 57)
FIGURES = {
    "first compile, torch.compile": ("backend cold", "inductor cold", 4.0),
    "first compile, deepseek.compile": ("whole cold", "inductor cold", 10.0),
    "second process, torch.compile": ("backend warm", "inductor warm", 3.0),
    "second process, deepseek.compile": ("whole warm", "inductor warm", 3.0),
    "saved program": ("saved warm", "inductor warm", 20.0),
}
"""Figure -> ours, Inductor's, and how many times faster ours is to be."""


def _seconds(run: Callable[..., Any], name: str, shape: tuple[int, int]) -> float:
    inputs = MODELS[name][1](*shape)
    begin = time.perf_counter()
    with torch.no_grad():
        run(**inputs)
    return time.perf_counter() - begin


def _load(folder: Path) -> Any:
    from deepseek.compiler import load  # counts, as the imports of the others do

    return load(folder)


def _child(way: str, state: str, name: str, folder: Path) -> dict[str, float]:
    """What a process of its own measures; a new shape only where caches are warm."""
    model = None if way == "saved" else make(name)
    makers: dict[str, Callable[[], Any]] = {
        "inductor": lambda: torch.compile(model),
        "backend": lambda: torch.compile(model, backend="deepseek"),
        "whole": lambda: deepseek.compile(model),
        "saved": lambda: _load(folder),
    }
    begin = time.perf_counter()
    run = makers[way]()
    _seconds(run, name, SHAPE)
    first = time.perf_counter() - begin
    if way == "whole" and not folder.exists():
        from deepseek.compiler import save

        save(run, folder)
    if state == "cold":
        return {"first": first}
    new, again = _seconds(run, name, OTHER), _seconds(run, name, OTHER)
    return {"first": first, "new shape": new, "that shape again": again}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default="bert-base", choices=MODELS)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if given.child:
        print(json.dumps(_child(*given.child[:2], given.model, Path(given.child[2]))))
        return
    found = {}
    with tempfile.TemporaryDirectory() as root:
        for way in ("inductor", "backend", "whole", "saved"):
            caches = {"DEEPSEEK_CACHE": f"{root}/{way}", "TORCHINDUCTOR_CACHE_DIR": f"{root}/{way}"}
            for state in ("cold", "warm"):
                command = [
                    sys.executable, __file__, "--threads", str(given.threads),
                    "--model", given.model, "--child", way, state, f"{root}/program",
                ]  # fmt: skip
                text = subprocess.check_output(command, env=os.environ | caches)
                found[f"{way} {state}"] = json.loads(text)
    setting = {"model": given.model, "batch": SHAPE[0], "length": SHAPE[1]}
    for figure, (ours, theirs, bar) in FIGURES.items():
        record(figure, setting, found[ours]["first"], found[theirs]["first"],
               unit="s", peer=theirs, bar=bar)  # fmt: skip
    shape = {"model": given.model, "batch": OTHER[0], "length": OTHER[1]}
    for way in ("backend warm", "whole warm"):
        record(f"new shape, {way.split()[0]}", shape, found[way]["new shape"],
               found["inductor warm"]["new shape"], unit="s", peer="inductor", bar=1.0)  # fmt: skip
        record(f"new shape beside a known one, {way.split()[0]}", shape, found[way]["new shape"],
               found[way]["that shape again"], unit="s", peer="itself", bar=0.5)  # fmt: skip


if __name__ == "__main__":
    main()
