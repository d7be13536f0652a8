"""What becomes of many architectures: captured or not, kernels and ATen calls a run, what is left.

Tiny models with random weights, the table of tests/compiler/architectures. One JSON object a line
for each, then one with the operators that were left to ATen over all of them, and why.
"""

import argparse
import json
import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import transformers

import deepseek
from deepseek.compiler.explain import Explanation

sys.path.append(str(Path(__file__).parents[2]))  # the table is one of the tests'

from tests.compiler.architectures.table import ARCHITECTURES


def measure(name: str) -> Explanation:
    """Explain one architecture, and print what it became."""
    case = ARCHITECTURES[name]
    model = case.model()
    told = deepseek.explain(model, runs=1, **case.call(model, *case.sizes[0], 0))
    line = {
        "architecture": name,
        "model": told.model,
        "captured": told.refusal is None,
        "refusal": told.refusal,
        "kernels": told.launches,
        "aten": told.left,
        "compile_seconds": round(told.compile_seconds, 2),
    }
    print(json.dumps(line), flush=True)
    return told


def main() -> None:
    """Print a line for each architecture and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="architectures; all unless given")
    names = parser.parse_args().names or list(ARCHITECTURES)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    left: Counter[str] = Counter()
    reasons: dict[str, set[str]] = defaultdict(set)
    captured = 0
    for name in names:
        told = measure(name)
        captured += told.refusal is None
        for step in told.steps:
            if step.reason:
                left[step.words] += 1
                reasons[step.words].add(step.reason)
    operators = [
        {"operator": words, "calls": count, "reasons": sorted(reasons[words])}
        for words, count in left.most_common()
    ]
    total = {"architectures": len(names), "captured": captured, "left_to_aten": operators}
    print(json.dumps(total))


if __name__ == "__main__":
    main()
