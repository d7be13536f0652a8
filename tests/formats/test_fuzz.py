"""Real small files of every format, damaged at random: they load, or end in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from deepseek.errors import InputError
from deepseek.formats.model import load_model
from deepseek.formats.open import open_checkpoint

_FEW, _MANY = 120, 4000
_NUMBERS = [0, 1, 2**31, 2**32 - 1, 2**60, 2**63, 2**64 - 1]

_Edit = tuple[str, float, bytes]


def _edits() -> st.SearchStrategy[list[_Edit]]:
    """Where, as a share of the file, and what: other bits or bytes, fewer, more, odd numbers."""
    edit = st.one_of(
        st.tuples(
            st.just("flip"), st.floats(0, 1), st.integers(0, 7).map(lambda n: bytes([1 << n]))
        ),
        st.tuples(st.just("write"), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
        st.tuples(
            st.just("write"),
            st.floats(0, 1),
            st.sampled_from(_NUMBERS).map(lambda n: n.to_bytes(8, "little")),
        ),
        st.tuples(st.just("insert"), st.floats(0, 1), st.binary(min_size=1, max_size=12)),
        st.tuples(st.just("delete"), st.floats(0, 1), st.binary(min_size=1, max_size=16)),
        st.tuples(st.just("cut"), st.floats(0, 1), st.just(b"")),
    )
    return st.lists(edit, min_size=1, max_size=4)


def _damaged(content: bytes, edits: list[_Edit]) -> bytes:
    data = bytearray(content)
    for kind, share, what in edits:
        place = min(int(share * len(data)), max(len(data) - 1, 0))
        if kind == "flip" and data:
            data[place] ^= what[0]
        elif kind == "write":
            data[place : place + len(what)] = what
        elif kind == "insert":
            data[place:place] = what
        elif kind == "delete":
            del data[place : place + len(what)]
        elif kind == "cut":
            del data[place:]
    return bytes(data)


def _survives(path: Path, use: Callable[[Path], None]) -> None:
    message = ""
    try:
        use(path)
    except InputError as error:
        message = error.message
    assert message.isprintable()
    assert len(message) < 2100


def _walk(path: Path) -> None:
    checkpoint = open_checkpoint(path)
    for name, info in checkpoint.infos.items():
        tensor = checkpoint.read(name)
        assert (tuple(tensor.shape), tensor.dtype) == (info.shape, info.dtype)
        tensor.sum()


def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    weight = torch.randn(4, 6)
    return {
        "a.weight": weight,
        "a.bias": torch.randn(4),
        "b": torch.arange(3),
        "c": torch.ones(2, dtype=torch.bfloat16),
        "tied": weight,
    }


def _torch_zip(folder: Path) -> Path:
    torch.save({"state_dict": _state(), "epoch": 3}, folder / "x.pt")
    return folder / "x.pt"


def _torch_legacy(folder: Path) -> Path:
    path = folder / "x.ckpt"
    torch.save({"state_dict": _state(), "epoch": 3}, path, _use_new_zipfile_serialization=False)
    return path


def _safetensors(folder: Path) -> Path:
    state = {name: value for name, value in _state().items() if name != "tied"}
    save_file(state, folder / "x.safetensors", metadata={"tied": "a.weight"})
    return folder / "x.safetensors"


def _onnx_model() -> onnx.ModelProto:
    weight = np.arange(24, dtype=np.float32).reshape(4, 6)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 6])],
        [
            numpy_helper.from_array(weight, "w"),
            helper.make_tensor("typed", TensorProto.BFLOAT16, [2], [1.0, 2.0]),
        ],
    )
    return helper.make_model(graph)


def _onnx(folder: Path) -> Path:
    onnx.save(_onnx_model(), folder / "x.onnx")
    return folder / "x.onnx"


def _onnx_external(folder: Path) -> Path:
    path = folder / "y.onnx"
    onnx.save(_onnx_model(), path, save_as_external_data=True, location="y.data", size_threshold=0)
    return path


def _gguf(folder: Path) -> Path:
    writer = gguf.GGUFWriter(folder / "x.gguf", "llama")
    writer.add_block_count(1)
    writer.add_embedding_length(32)
    writer.add_context_length(64)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_token_list(["a", "b", "c"])
    values = np.random.default_rng(0).random((32, 32), dtype=np.float32)
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("token_embd.weight", values[:3].copy())
    writer.add_tensor("blk.0.attn_q.weight", gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "x.gguf"


_FORMATS: dict[str, Callable[[Path], Path]] = {
    "torch zip": _torch_zip,
    "torch legacy": _torch_legacy,
    "safetensors": _safetensors,
    "onnx": _onnx,
    "onnx external": _onnx_external,
    "gguf": _gguf,
}
_AMOUNTS = pytest.mark.parametrize("examples", [_FEW, pytest.param(_MANY, marks=pytest.mark.slow)])


def _try(examples: int, path: Path, damaged: Path, use: Callable[[Path], None]) -> None:
    """Damage ``path`` again and again, written to ``damaged``, and use the checkpoint."""
    content = path.read_bytes()

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(_edits())
    def attempt(edits: list[_Edit]) -> None:
        damaged.write_bytes(_damaged(content, edits))
        _survives(damaged, use)

    attempt()


@_AMOUNTS
@pytest.mark.parametrize("kind", _FORMATS)
def test_files(tmp_path: Path, kind: str, examples: int) -> None:
    path = _FORMATS[kind](tmp_path)
    _walk(path)
    _try(examples, path, path.with_stem("damaged"), _walk)


@_AMOUNTS
def test_the_index_of_shards(tmp_path: Path, examples: int) -> None:
    state = {name: value for name, value in _state().items() if name != "tied"}
    save_file({"a.weight": state.pop("a.weight")}, tmp_path / "one.safetensors")
    save_file(state, tmp_path / "two.safetensors")
    homes = {"a.weight": "one.safetensors"} | dict.fromkeys(state, "two.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": homes}))
    _walk(tmp_path)
    _try(examples, index, index, lambda path: _walk(path.parent))


@pytest.fixture
def folder(tiny_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """A folder of a tiny model that may be damaged."""
    return shutil.copytree(tiny_folder("bert"), tmp_path / "bert")


@_AMOUNTS
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_models(folder: Path, name: str, examples: int) -> None:
    def use(_path: Path) -> None:
        load_model(folder)

    use(folder)
    _try(examples // 4, folder / name, folder / name, use)


@_AMOUNTS
def test_models_without_configuration(
    tmp_path: Path, tiny: Callable[[str], Any], examples: int
) -> None:
    names = [name for name in tiny("bert").state_dict() if ".layer.1." not in name]
    state = {name: tiny("bert").state_dict()[name] for name in names}
    save_file(state, tmp_path / "x.safetensors")
    content = (tmp_path / "x.safetensors").read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    path = tmp_path / "damaged.safetensors"
    (tmp_path / "header").write_bytes(content[:header])

    def use(damaged: Path) -> None:
        path.write_bytes(damaged.read_bytes() + content[header:])
        load_model(path)

    use(tmp_path / "header")
    _try(examples // 4, tmp_path / "header", tmp_path / "damaged", use)
