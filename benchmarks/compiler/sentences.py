"""300 sentences of varied length, one at a time, from loading to the last embedding, in INT8.

    python benchmarks/compiler/sentences.py

MiniLM on sentences of the Python reference. Ours counts compiling, or loading what was compiled and
saved before; ONNX Runtime the making of its session from a file that was quantized before. Each is
a process of its own, in turns. Then: how close ours stays to fp32, on 500 sentences. Prints one
JSON object a line.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from exported import onnxruntime_int8
from models import Inputs, make
from torch import Tensor, nn
from transformers import AutoTokenizer

sys.path.insert(0, str(Path(__file__).parents[2]))  # measuring is shared with other rooms

import deepseek
from benchmarks.kernels.measure import record
from benchmarks.quantization.embeddings import sentences

NAME, COUNT = "minilm", 300
_FOLDER = "SENTENCES_PROGRAM"  # where the children find what was saved

Run = Callable[[Inputs], Any]


def _encoded(model: nn.Module, count: int) -> list[Inputs]:
    tokenizer = AutoTokenizer.from_pretrained(model.config.name_or_path)
    texts = sentences()[:count]
    assert len(texts) == count
    return [dict(tokenizer(text, return_tensors="pt")) for text in texts]


def _child(runner: str) -> float:
    """Seconds until all sentences are embedded, in a process of its own."""
    model = make(NAME)
    inputs = [
        {key: each[key] for key in ("input_ids", "attention_mask")}
        for each in _encoded(model, COUNT)
    ]
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    run = _RUNNERS[runner](model)
    for each in inputs:
        run(each)
    return clock() - begin


def _compiled(model: nn.Module) -> Run:
    compiled = deepseek.compile(model, precision="int8")
    return lambda each: compiled(**each)


def _saved(_model: nn.Module) -> Run:
    from deepseek.compiler import load  # counts, as that of the others does

    loaded = load(os.environ[_FOLDER])
    return lambda each: loaded(**each)


_RUNNERS: dict[str, Callable[[nn.Module], Run]] = {
    "compiled": _compiled,
    "saved": _saved,
    "onnxruntime": lambda model: onnxruntime_int8(model, NAME),
}


def _save(folder: Path) -> None:
    from deepseek.compiler import save

    model = make(NAME)
    compiled = deepseek.compile(model, precision="int8")
    for each in _encoded(model, 3):
        compiled(**{key: each[key] for key in ("input_ids", "attention_mask")})
    save(compiled, folder)


@torch.inference_mode()
def _vectors(run: Callable[..., Any], inputs: list[Inputs]) -> Tensor:
    means = [run(**each).last_hidden_state.mean(1) for each in inputs]
    return nn.functional.normalize(torch.cat(means))


def _fidelity() -> None:
    model = make(NAME)
    inputs = _encoded(model, 500)
    compiled = deepseek.compile(model, precision="int8")
    cosine = (_vectors(model, inputs) * _vectors(compiled, inputs)).sum(1)
    for figure, found, bar in (("mean", cosine.mean(), 0.998), ("lowest", cosine.min(), 0.992)):
        record(f"int8 embeddings, {figure} cosine", {"model": NAME, "n": len(inputs)},
               float(found), 1.0, unit="", peer="fp32", bar=bar, higher_is_better=True)  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if given.child:
        print(json.dumps(_child(given.child)))
        return
    found: dict[str, list[float]] = {runner: [] for runner in _RUNNERS}
    with TemporaryDirectory() as place:
        _save(Path(place) / "program")
        environment = {**os.environ, _FOLDER: str(Path(place) / "program")}
        command = [sys.executable, __file__, "--threads", str(given.threads), "--child"]
        for _ in range(given.rounds):
            for runner, seconds in found.items():
                answer = subprocess.check_output([*command, runner], env=environment)
                seconds.append(json.loads(answer))
    compiled, saved, theirs = (statistics.median(seconds) for seconds in found.values())
    for ours, figure in ((compiled, "compiled"), (saved, "saved program")):
        record(f"sentences one at a time, first pass, {figure}", {"model": NAME, "n": COUNT}, ours,
               theirs, unit="s", peer="onnxruntime int8", bar=1.0)  # fmt: skip
    _fidelity()


if __name__ == "__main__":
    main()
