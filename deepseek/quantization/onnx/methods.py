"""The methods in ONNX: each is a call of ONNX Runtime's quantization library.

``dynamic_range`` rounds activations by a range of the whole tensor as it runs, because that is what
the operators of ONNX do; ours per token has no form there. ``static`` writes QDQ, convolutions
included; what a matrix product gives stays in floating point, what a convolution gives is rounded,
or the runtime would not fuse it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from deepseek.errors import InputError
from deepseek.formats.quiet import quiet
from deepseek.quantization.batches import Batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.formats import ONNX_OBSERVERS
from deepseek.quantization.onnx.module import OnnxModule
from deepseek.quantization.onnx.prepare import is_large
from deepseek.quantization.search.speed import has_vnni

__all__ = ["KINDS", "WRITERS", "Setting", "calibrate"]

KINDS: Mapping[str, Sequence[str]] = {
    "dynamic_range": ("MatMul",),
    "static": ("MatMul", "Conv"),
    "weight_only": ("MatMul",),
}
"""The kinds of nodes that each method quantizes."""
_EVERY_BIT = 4  # accuracy_level: products of the weights with activations in INT8


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a method works on.

    Attributes:
        source: The prepared program.
        config: What was asked for.
        ranges: A file with the ranges of activations, for ``static``.
    """

    source: Path
    config: QuantizeConfig
    ranges: Path


Write = Callable[[Setting, Path, Sequence[str]], None]
"""Writes a program in which the named nodes are quantized, and no other."""


def _dynamic_range(setting: Setting, dest: Path, names: Sequence[str]) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        setting.source, dest, op_types_to_quantize=["MatMul"], nodes_to_quantize=list(names),
        per_channel=True, reduce_range=not has_vnni(), weight_type=QuantType.QInt8,
        use_external_data_format=is_large(setting.source),
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
    )  # fmt: skip


def _static(setting: Setting, dest: Path, names: Sequence[str]) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

    quantize_static(
        setting.source, dest, calibration_cache_path=setting.ranges,
        calibrate_method=CalibrationMethod[ONNX_OBSERVERS[setting.config.observer]],
        op_types_to_quantize=list(KINDS["static"]), nodes_to_quantize=list(names),
        per_channel=True, reduce_range=not has_vnni(), activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8, use_external_data_format=is_large(setting.source),
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"],
                       "DefaultTensorType": onnx.TensorProto.FLOAT},
    )  # fmt: skip


def _weight_only(setting: Setting, dest: Path, names: Sequence[str]) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(
        onnx.load(setting.source), bits=setting.config.bits, block_size=setting.config.group_size,
        is_symmetric=True, accuracy_level=_EVERY_BIT, nodes_to_include=list(names),
        op_types_to_quantize=("MatMul",),
    )  # fmt: skip
    quantizer.process()
    quantizer.model.save_model_to_file(str(dest), is_large(setting.source))


WRITERS: Mapping[str, Write] = {
    "dynamic_range": _dynamic_range,
    "static": _static,
    "weight_only": _weight_only,
}


def calibrate(setting: Setting, model: OnnxModule, batches: Batches, folder: Path) -> None:
    """Find the ranges of activations; a batch at a time, of which nothing but sums is kept.

    Args:
        setting: Names the program, and the file to write.
        model: The program.
        batches: What it is run on.
        folder: For a program that gives what lies between.

    Raises:
        InputError: A batch gives NaN or infinity.
    """
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data

    calibrator: Any = create_calibrator(
        setting.source, list(KINDS["static"]), str(folder / "calibration.onnx"),
        calibrate_method=CalibrationMethod[ONNX_OBSERVERS[setting.config.observer]],
        use_external_data_format=is_large(setting.source),
        extra_options={"symmetric": False},
    )  # fmt: skip
    try:
        for batch in batches:
            with quiet():
                calibrator.collect_data(_One(model.feed(dict(batch.inputs))))
        with quiet():
            save_tensors_data(calibrator.compute_data(), setting.ranges)
    except ValueError as error:
        raise InputError(
            f"expected finite activations to calibrate on; ONNX Runtime says: {error}"
        ) from error


class _One:
    """A data reader of one batch."""

    def __init__(self, feed: Mapping[str, Any]) -> None:
        self._feed: Mapping[str, Any] | None = feed

    def get_next(self) -> Mapping[str, Any] | None:
        """The batch, then None."""
        feed, self._feed = self._feed, None
        return feed
