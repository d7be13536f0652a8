from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from deepseek.errors import InputError
from deepseek.formats.readers.files import read_file

_WEIGHT = np.arange(24, dtype=np.float32).reshape(4, 6)


def _model(*initializers: TensorProto) -> ModelProto:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 6])],
        list(initializers) or [numpy_helper.from_array(_WEIGHT, "w")],
    )
    return helper.make_model(graph, producer_name="someone")


def _external(folder: Path) -> Path:
    path = folder / "m.onnx"
    onnx.save(_model(), path, save_as_external_data=True, location="m.data", size_threshold=0)
    return path


def test_initializers_are_tensors(tmp_path: Path) -> None:
    kinds = {
        "w": torch.from_numpy(_WEIGHT),
        "i": torch.arange(3),
        "h": torch.tensor([0.5, 1.5]).half(),
        "flag": torch.tensor([True, False]),
    }
    tensors = [numpy_helper.from_array(value.numpy(), name) for name, value in kinds.items()]
    tensors += [
        helper.make_tensor("bf", TensorProto.BFLOAT16, [2], [1.0, 2.5]),
        helper.make_tensor("typed", TensorProto.FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0]),
        helper.make_tensor("scalar", TensorProto.DOUBLE, [], [3.0]),
        helper.make_tensor("none", TensorProto.FLOAT, [0, 2], []),
    ]
    kinds |= {
        "bf": torch.tensor([1.0, 2.5]).to(torch.bfloat16),
        "typed": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        "scalar": torch.tensor(3.0).double(),
        "none": torch.empty(0, 2),
    }
    onnx.save(_model(*tensors), tmp_path / "m.onnx")
    checkpoint = read_file(tmp_path / "m.onnx")
    assert checkpoint.format == "onnx"
    assert checkpoint.metadata["producer"] == "someone"
    assert set(checkpoint.infos) == set(kinds)
    for name, value in kinds.items():
        found = checkpoint.read(name)
        assert (found.dtype, found.shape) == (value.dtype, value.shape), name
        assert torch.equal(found, value), name


def test_external_data_are_mapped(tmp_path: Path) -> None:
    checkpoint = read_file(_external(tmp_path))
    assert [path.name for path in checkpoint.files] == ["m.onnx", "m.data"]
    assert torch.equal(checkpoint.read("w"), torch.from_numpy(_WEIGHT))
    assert checkpoint.read("w").data_ptr() != checkpoint.read("w").data_ptr()


def _place(key: str, value: str) -> Callable[[ModelProto, Path], None]:
    def change(model: ModelProto, _folder: Path) -> None:
        entries = model.graph.initializer[0].external_data
        kept = {entry.key: entry.value for entry in entries} | {key: value}
        del entries[:]
        for name, text in kept.items():
            entries.add(key=name, value=text)

    return change


def _link(_model: ModelProto, folder: Path) -> None:
    (folder / "m.data").rename(folder.parent / "outside.data")
    (folder / "m.data").symlink_to(folder.parent / "outside.data")


def _shorten(_model: ModelProto, folder: Path) -> None:
    (folder / "m.data").write_bytes(bytes(20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_place("location", "../m.data"), "lies outside its folder"),
        (_place("location", "/etc/passwd"), "lies outside its folder"),
        (_place("location", "gone.data"), "does not exist"),
        (_place("location", ""), "expected the name of a file"),
        (_place("offset", "-8"), "should have 96 bytes at -8"),
        (_place("offset", str(2**70)), "should have 96 bytes"),
        (_place("offset", "8"), "should have 96 bytes at 8"),
        (_place("offset", "x"), "cannot be read as an ONNX model"),
        (_place("length", "95"), "should have 96 bytes"),
        (_link, "a link that leads outside its folder"),
        (_shorten, r"in a file of 20|should have 96 bytes"),
    ],
)
def test_external_data_that_lie_elsewhere(
    tmp_path: Path, change: Callable[[ModelProto, Path], None], message: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = _external(folder)
    model = onnx.load(path, load_external_data=False)
    change(model, folder)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=message):
        read_file(path)


def _raw(**changes: object) -> TensorProto:
    tensor = numpy_helper.from_array(_WEIGHT, "w")
    if "dims" in changes:
        del tensor.dims[:]
        tensor.dims.extend(changes["dims"])  # type: ignore[arg-type]
    if "kind" in changes:
        tensor.data_type = changes["kind"]  # type: ignore[assignment]
    return tensor


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (_raw(dims=[4, 7]), "should have 112 bytes, has 96"),
        (_raw(dims=[2**40, 2**20]), "bytes, has 96"),
        (_raw(dims=[-4, 6]), "has a negative size"),
        (_raw(kind=TensorProto.INT4), "of type INT4, which is not read"),
        (_raw(kind=99), "of type UNDEFINED, which is not read"),
        (helper.make_tensor("s", TensorProto.STRING, [1], [b"x"]), "of type STRING"),
    ],
)
def test_initializers_that_contradict_themselves(
    tmp_path: Path, tensor: TensorProto, message: str
) -> None:
    (tmp_path / "m.onnx").write_bytes(_model(tensor).SerializeToString())
    with pytest.raises(InputError, match=message):
        read_file(tmp_path / "m.onnx")


def test_typed_data_of_the_wrong_number(tmp_path: Path) -> None:
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [2], [1.0, 2.0])
    tensor.dims[0] = 10**9
    (tmp_path / "m.onnx").write_bytes(_model(tensor).SerializeToString())
    checkpoint = read_file(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="the data of t"):
        checkpoint.read("t")


def test_models_without_weights_and_files_that_are_no_models(tmp_path: Path) -> None:
    empty = _model()
    del empty.graph.initializer[:]
    (tmp_path / "empty.onnx").write_bytes(empty.SerializeToString())
    with pytest.raises(InputError, match="found no initializer"):
        read_file(tmp_path / "empty.onnx")
    for content in (b"\x08\x0a\xff\xff\xff", b"hello, world"):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as an ONNX model"):
            read_file(tmp_path / "bad.onnx")


def test_without_the_suffix(tmp_path: Path) -> None:
    onnx.save(_model(), tmp_path / "weights", format="protobuf")
    assert torch.equal(read_file(tmp_path / "weights").read("w"), torch.from_numpy(_WEIGHT))
