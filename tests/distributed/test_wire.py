"""Gradients on the wire: what arrives, what is late, and how many bytes were sent."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cases import Case
from tiny import alone

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "distributed" / "wire_bytes.py"


@pytest.mark.parametrize(
    ("wire", "error"), [("fp32", 1e-7), ("bf16", 2.0**-8 * 4 / 2), ("int8", 4 / 127 / 4)]
)
def test_a_part_arrives_as_exactly_as_its_precision_allows(
    pair: dict[str, object], wire: str, error: float
) -> None:
    # Values are below 4; of the mean of two, one part did not travel.
    found = pair[f"exchange {wire}"]
    assert isinstance(found, dict), found
    assert found["first"] <= error


def test_int8_owes_nothing_in_the_long_run(pair: dict[str, object]) -> None:
    found = pair["exchange int8"]
    assert isinstance(found, dict)
    assert found["mean_of_twenty"] < found["first"] / 5
    own, other = found["late"]
    assert own == 0.0
    assert other > 0.0
    assert pair["exchange bf16"]["late"] is None


@pytest.mark.parametrize(("wire", "drift"), [("bf16", 1e-4), ("int8", 2e-3)])
def test_training_with_few_bits_stays_near(
    pair: dict[str, object], wire: str, drift: float
) -> None:
    result = pair[f"wire {wire}"]
    assert isinstance(result, tuple), result
    differences = [abs(a - b) for a, b in zip(result[0], alone("gpt")[0], strict=True)]
    assert 0 < max(differences) < drift


def test_what_int8_owes_is_saved_and_restored_exactly(pair: dict[str, object]) -> None:
    assert pair["int8 resumes"] == 0.0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="counts in a network of its own")
def test_bytes_counted_by_the_kernel_are_as_planned_and_as_promised() -> None:
    from deepseek.distributed import Layout, wire_bytes

    done = subprocess.run([sys.executable, BENCHMARK], capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("this machine lets nobody make a network")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(line["met"] for line in lines)
    for line in lines:
        case = Case("", line["setting"]["strategy"], wire=line["setting"]["wire"])
        planned = wire_bytes(1.0, Layout.of(4, case.strategy), case.strategy, case.wire)
        assert line["ours"] == pytest.approx(planned, rel=0.01)
