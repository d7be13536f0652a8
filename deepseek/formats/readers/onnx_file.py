"""ONNX: the initializers of a graph as named tensors, external data included."""

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from deepseek.errors import InputError
from deepseek.formats.checkpoint import Checkpoint, TensorInfo
from deepseek.formats.damage import blamed_on
from deepseek.formats.inside import file_inside
from deepseek.formats.mapped import map_tensor

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

__all__ = ["read_onnx"]

_DTYPES = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "INT8": torch.int8,
    "UINT16": torch.uint16,
    "INT16": torch.int16,
    "UINT32": torch.uint32,
    "INT32": torch.int32,
    "UINT64": torch.uint64,
    "INT64": torch.int64,
    "FLOAT8E4M3FN": torch.float8_e4m3fn,
    "FLOAT8E4M3FNUZ": torch.float8_e4m3fnuz,
    "FLOAT8E5M2": torch.float8_e5m2,
    "FLOAT8E5M2FNUZ": torch.float8_e5m2fnuz,
    "FLOAT16": torch.float16,
    "BFLOAT16": torch.bfloat16,
    "FLOAT": torch.float32,
    "DOUBLE": torch.float64,
    "COMPLEX64": torch.complex64,
    "COMPLEX128": torch.complex128,
}


def read_onnx(path: Path) -> Checkpoint:
    """The weights in an ONNX model, under the names of its initializers.

    What lies in the model itself is in memory; external data are mapped when asked for.

    Raises:
        InputError: The file is no ONNX model or damaged, has no weights, or refers to data outside
            its folder.
    """
    import onnx

    with blamed_on(path, "an ONNX model"):
        model = onnx.load(path, format="protobuf", load_external_data=False)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    if not all(isinstance(name, str) for name in tensors):
        raise InputError(f"{path}: the name of an initializer is not UTF-8")
    if not tensors:
        raise InputError(f"{path}: expected an ONNX model with weights, found no initializer")
    infos = {name: _info(path, tensor) for name, tensor in tensors.items()}
    data = {name: _external(path, tensor, infos[name]) for name, tensor in tensors.items()}

    def read(name: str) -> torch.Tensor:
        place = data[name]
        info = infos[name]
        if place is None:
            return _inline(path, tensors[name], info)
        return map_tensor(place[0], offset=place[1], dtype=info.dtype, shape=info.shape)

    external = dict.fromkeys(place[0] for place in data.values() if place is not None)
    return Checkpoint(
        source=path,
        format="onnx",
        infos=infos,
        read=read,
        metadata=_metadata(model),
        files=(path, *external),
    )


def _info(path: Path, tensor: "TensorProto") -> TensorInfo:
    from onnx import TensorProto

    types = TensorProto.DataType
    kind = types.Name(tensor.data_type) if tensor.data_type in types.values() else "UNDEFINED"
    if kind not in _DTYPES:
        raise InputError(f"{path}: {tensor.name} is of type {kind}, which is not read")
    if any(size < 0 for size in tensor.dims):
        raise InputError(f"{path}: {tensor.name} has a negative size")
    info = TensorInfo(shape=tuple(tensor.dims), dtype=_DTYPES[kind])
    found = len(tensor.raw_data)
    if tensor.HasField("raw_data") and found != info.bytes:
        raise InputError(f"{path}: {tensor.name} should have {info.bytes} bytes, has {found}")
    return info


def _external(path: Path, tensor: "TensorProto", info: TensorInfo) -> tuple[Path, int] | None:
    """The file and the offset of data that lie outside the model; None for data inside."""
    from onnx import TensorProto

    if tensor.data_location != TensorProto.EXTERNAL:
        return None
    keys = {entry.key: entry.value for entry in tensor.external_data}
    file = file_inside(path.parent, keys.get("location"), named_by=path)
    with blamed_on(path, f"an ONNX model: the place of {tensor.name}"):
        offset, length = int(keys.get("offset") or 0), int(keys.get("length") or info.bytes)
    if offset < 0 or length != info.bytes or offset + length > file.stat().st_size:
        raise InputError(
            f"{path}: {tensor.name} should have {info.bytes} bytes at {offset} of {file.name}, "
            f"found {length} in a file of {file.stat().st_size}"
        )
    return file, offset


def _inline(path: Path, tensor: "TensorProto", info: TensorInfo) -> torch.Tensor:
    if tensor.HasField("raw_data"):
        data = tensor.raw_data
    else:
        from onnx import numpy_helper

        with blamed_on(path, f"an ONNX model: the data of {tensor.name}"):
            data = numpy_helper.to_array(tensor).tobytes()
    if len(data) != info.bytes:
        raise InputError(f"{path}: {tensor.name} should have {info.bytes} bytes, has {len(data)}")
    if not data:
        return torch.empty(info.shape, dtype=info.dtype)
    flat = torch.frombuffer(bytearray(data), dtype=info.dtype, count=prod(info.shape))
    return flat.reshape(info.shape)


def _metadata(model: "ModelProto") -> dict[str, str]:
    opsets = [f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in model.opset_import]
    return {
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "opset": ", ".join(opsets),
        **{str(entry.key): str(entry.value) for entry in model.metadata_props},
    }
