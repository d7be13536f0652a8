import math
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from deepseek.formats.exporting.compare import Limits, compare_outputs
from deepseek.formats.exporting.signature import Signature, Sizes
from deepseek.progress import silent

_LIMITS = Limits(error=1e-3, cosine=0.999)


class _Outputs(dict[str, torch.Tensor]):
    """What a model of transformers returns, as far as it is used here."""


class _Double(torch.nn.Module):
    """Multiplies its input by two."""

    def __init__(self, output: str) -> None:
        super().__init__()
        self._output = output

    def forward(self, x: torch.Tensor, return_dict: bool) -> _Outputs:
        return _Outputs({self._output: 2 * x})


def _program(path: Path, output: str, factor: list[float], dims: list[Any]) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], [output])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, dims)],
        [helper.make_tensor("factor", TensorProto.FLOAT, [len(factor)], factor)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


def _signature(values: list[list[float]], *batches: int) -> Signature:
    trials = tuple(Sizes(batch=batch) for batch in batches or (1,))
    return Signature(
        axes={"x": {0: "batch"}},
        example=Sizes(batch=2),
        trials=trials,
        make=lambda sizes: {"x": torch.tensor(values).repeat(sizes.batch, 1)},
    )


def _compare(
    tmp_path: Path, output: str, factor: list[float], values: list[list[float]], *batches: int,
    dims: tuple[Any, ...] = ("batch", 3),
) -> Any:  # fmt: skip
    path = _program(tmp_path / "m.onnx", output, factor, list(dims))
    return compare_outputs(_Double(output), _signature(values, *batches), path, _LIMITS, silent)


def test_the_same_results_pass(tmp_path: Path) -> None:
    found, misses = _compare(tmp_path, "logits", [2, 2, 2], [[1, 2, 3]], 1, 4)
    assert misses == ()
    assert [(one.shape, one.max_abs, one.argmax, one.cosine) for one in found] == [
        ("1", 0, 1, None),
        ("4", 0, 1, None),
    ]


def test_errors_are_measured_against_the_largest_output(tmp_path: Path) -> None:
    (one,), misses = _compare(tmp_path, "hidden", [2, 2, 2.5], [[1, 10, 2]])
    assert one.max_abs == pytest.approx(1)
    assert one.max_rel == pytest.approx(1 / 20)
    assert one.cosine == pytest.approx(0.9989, abs=1e-4)
    (miss,) = misses
    assert miss == (
        "1 of 1 outputs differ from torch; hidden at 1 by 0.05 of its largest value, "
        "accepted are 0.001"
    )


def test_another_best_class_is_a_miss(tmp_path: Path) -> None:
    (one,), misses = _compare(tmp_path, "logits", [2, 2, 1.98], [[0, 1, 1.01]])
    assert one.argmax == 0
    assert not one.passed
    assert len(misses) == 1


def test_a_tie_within_the_limit_is_none(tmp_path: Path) -> None:
    (one,), misses = _compare(tmp_path, "logits", [2, 2, 1.9999], [[0, 1, 1.00001]])
    assert one.argmax == 0
    assert one.passed
    assert misses == ()


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_values_that_are_no_numbers_are_infinitely_wrong(tmp_path: Path, factor: float) -> None:
    (one,), misses = _compare(tmp_path, "hidden", [2, 2, factor], [[1, 2, 3]])
    assert one.max_abs == math.inf
    assert len(misses) == 1


def test_the_same_infinity_is_no_difference(tmp_path: Path) -> None:
    (one,), misses = _compare(tmp_path, "hidden", [2, 2, 2], [[1, 2, -math.inf]])
    assert one.max_abs == 0
    assert len(misses) in (0, 1)


def test_sizes_that_are_not_free_are_found(tmp_path: Path) -> None:
    found, misses = _compare(tmp_path, "logits", [2, 2, 2], [[1, 2, 3]], 2, 1, dims=(2, 3))
    assert len(found) == 1
    assert len(misses) == 1
    assert misses[0].startswith("ONNX Runtime fails at 1: ")
    assert "\n" not in misses[0]


def test_a_file_that_cannot_be_loaded_is_a_miss(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no")
    found, misses = compare_outputs(
        _Double("logits"), _signature([[1.0]]), tmp_path / "m.onnx", _LIMITS, silent
    )
    assert found == ()
    assert misses[0].startswith("ONNX Runtime cannot load it: ")


def test_a_missing_output_is_a_miss(tmp_path: Path) -> None:
    path = _program(tmp_path / "m.onnx", "hidden", [2, 2, 2], ["batch", 3])
    (one,), misses = compare_outputs(
        _Double("logits"), _signature([[1, 2, 3]]), path, _LIMITS, silent
    )
    assert (one.output, one.max_abs, one.passed) == ("logits", math.inf, False)
    assert len(misses) == 1
