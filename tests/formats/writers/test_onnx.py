import io
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from deepseek.errors import InputError
from deepseek.formats.config import ConvertConfig
from deepseek.formats.convert import convert
from deepseek.formats.exporting import program
from deepseek.formats.writers import onnx as writer

Folder = Callable[[str], Path]
Models = Callable[[str], Any]

_FAMILIES = ["bert", "gpt2", "llama", "vit", "t5", "resnet"]


def _convert(source: Path, dest: Path, **more: Any) -> Any:
    return convert(ConvertConfig(source=source, dest=dest, **more))


def _session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _opset(path: Path) -> int:
    version: int = onnx.load(path, load_external_data=False).opset_import[0].version
    return version


@pytest.mark.parametrize(
    ("name", "opset"),
    [
        *((name, 17) for name in _FAMILIES),
        ("bert", 20),
        *(pytest.param(name, 18, marks=pytest.mark.slow) for name in _FAMILIES),
        *(pytest.param(name, 23, marks=pytest.mark.slow) for name in _FAMILIES),
        pytest.param("bert", 14, marks=pytest.mark.slow),
    ],
)
def test_every_family_passes_its_gate(
    name: str, opset: int, tiny_folder: Folder, tmp_path: Path
) -> None:
    dest = tmp_path / "m.onnx"
    conversion = _convert(tiny_folder(name), dest, opset=opset)
    assert conversion.passed, conversion.parity.misses
    assert conversion.parity.opset == _opset(dest) == opset
    outputs = conversion.parity.outputs
    assert len({one.shape for one in outputs}) >= 3
    assert any(one.argmax == 1 for one in outputs)
    assert max(one.max_abs for one in outputs) < 1e-4
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "m.onnx.report.json"}


def test_batch_and_sequence_are_free_and_the_mask_is_an_input(
    tiny: Models, tiny_folder: Folder, tmp_path: Path
) -> None:
    _convert(tiny_folder("bert"), tmp_path / "m.onnx", opset=17)
    session = _session(tmp_path / "m.onnx")
    assert {entry.name: entry.shape for entry in session.get_inputs()} == {
        name: ["batch", "sequence"] for name in ("input_ids", "attention_mask", "token_type_ids")
    }
    tokens = torch.randint(1, 120, (4, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    mask[2, 5:] = 0
    with torch.inference_mode():
        expected = tiny("bert")(input_ids=tokens, attention_mask=mask).logits.numpy()
    feed = {"input_ids": tokens.numpy(), "attention_mask": mask.numpy(),
            "token_type_ids": np.zeros((4, 9), np.int64)}  # fmt: skip
    np.testing.assert_allclose(session.run(["logits"], feed)[0], expected, atol=1e-5)
    feed["attention_mask"] = np.ones((4, 9), np.int64)
    unmasked = session.run(["logits"], feed)[0]
    assert np.abs(unmasked[2] - expected[2]).max() > 3e-5


def test_what_the_following_exporter_leaves_and_says(
    tiny_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One export, since it is slow: weights beside the program, names, no traces, no talk."""
    monkeypatch.setattr(program, "_LARGEST_IN_ONE_FILE", 10_000)
    place = tmp_path / "first"
    place.mkdir()
    with _silence():
        conversion = _convert(tiny_folder("vit"), place / "m.onnx", opset=20)
    assert conversion.passed
    assert {path.name for path in place.iterdir()} == {
        "m.onnx", "m.onnx.data", "m.onnx.report.json",
    }  # fmt: skip
    names = {tensor.name for tensor in onnx.load(place / "m.onnx").graph.initializer}
    assert {"vit.embeddings.cls_token", "classifier.weight"} <= names
    content = (place / "m.onnx").read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content
    moved = place.rename(tmp_path / "elsewhere")
    assert _session(moved / "m.onnx").get_outputs()[0].name == "logits"


def test_the_recording_exporter_says_nothing(tiny_folder: Folder, tmp_path: Path) -> None:
    with _silence():
        _convert(tiny_folder("vit"), tmp_path / "m.onnx", opset=17)


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing is printed, logged or warned of, and loggers are as they were."""
    out, err = io.StringIO(), io.StringIO()
    level = logging.getLogger("torch").level
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert (out.getvalue(), err.getvalue()) == ("", "")
    assert logging.getLogger("torch").level == level


def test_tied_weights_are_written_once(tiny: Models, tiny_folder: Folder, tmp_path: Path) -> None:
    model = tiny("gpt2")
    _convert(tiny_folder("gpt2"), tmp_path / "m.onnx", opset=17)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    program_ = onnx.load(tmp_path / "m.onnx")
    largest = [t for t in program_.graph.initializer if t.dims[:1] == [120] or t.dims[-1:] == [120]]
    assert len(largest) <= 2  # one as it is, perhaps one turned round for the last product
    total = sum(int(np.prod(t.dims)) for t in program_.graph.initializer)
    assert total < parameters + 120 * 32 + 64 * 64 + 1_000


@pytest.mark.parametrize(
    "name",
    ["resnet", *(pytest.param(name, marks=pytest.mark.slow) for name in _FAMILIES[:-1])],
)
def test_half_precision_is_half_the_size(name: str, tiny_folder: Folder, tmp_path: Path) -> None:
    conversion = _convert(tiny_folder(name), tmp_path / "h.onnx", opset=18, dtype="fp16")
    assert conversion.passed, conversion.parity.misses
    weights = [t for t in onnx.load(tmp_path / "h.onnx").graph.initializer if len(t.dims) > 1]
    assert onnx.TensorProto.FLOAT not in {tensor.data_type for tensor in weights}
    with pytest.raises(InputError, match="--opset 18 or above for fp16, got 17"):
        _convert(tiny_folder(name), tmp_path / "i.onnx", opset=17, dtype="fp16")
    assert 1e-6 < max(one.max_rel for one in conversion.parity.outputs) < 2e-2


def test_bf16_is_refused_when_asked_for_and_widened_when_found(
    tiny_folder: Folder, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="does not compute in bf16") as caught:
        _convert(tiny_folder("bert"), tmp_path / "m.onnx", dtype="bf16")
    assert "--dtype fp32" in str(caught.value.hint)
    _convert(tiny_folder("bert"), tmp_path / "b", dtype="bf16")
    conversion = _convert(tmp_path / "b", tmp_path / "m.onnx", opset=17)
    assert conversion.passed
    assert "bfloat16 is written as float32" in conversion.notes


def test_renamed_tensors_are_exported(tiny: Models, tiny_folder: Folder, tmp_path: Path) -> None:
    state = {
        key.replace("attention.self", "look"): value
        for key, value in tiny("bert").state_dict().items()
    }
    torch.save(state, tmp_path / "w.pt")
    shutil.copy(tiny_folder("bert") / "config.json", tmp_path)
    with pytest.raises(InputError):
        _convert(tmp_path / "w.pt", tmp_path / "m.onnx", opset=17)
    assert _convert(
        tmp_path / "w.pt", tmp_path / "m.onnx", opset=17, map=(r"re:\blook\b=attention.self",)
    ).passed


def test_a_program_that_computes_something_else_is_not_kept(
    tiny: Models, tiny_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = program.save

    def sabotage(model: Any, path: Path) -> None:
        save(model, path)
        proto = onnx.load(path)
        for tensor in proto.graph.initializer:
            if tensor.name.endswith("classifier.bias"):
                tensor.raw_data = np.array([9, 0, 0], np.float32).tobytes()
        onnx.save(proto, path)

    monkeypatch.setattr(writer, "save", sabotage)
    conversion = _convert(tiny_folder("bert"), tmp_path / "m.onnx", opset=17)
    assert not conversion.passed
    (miss,) = conversion.parity.misses
    assert miss.startswith("5 of 5 outputs differ from torch; logits at")
    assert not list(tmp_path.iterdir())


def test_a_stricter_limit_can_be_asked_for(tiny_folder: Folder, tmp_path: Path) -> None:
    conversion = _convert(tiny_folder("bert"), tmp_path / "m.onnx", opset=17, max_error=1e-12)
    assert not conversion.passed
    assert not list(tmp_path.iterdir())


def test_another_operator_set_than_asked_for_is_a_miss(
    tiny_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "export", lambda m, s, a, opset: program.export(m, s, a, opset - 1))
    conversion = _convert(tiny_folder("vit"), tmp_path / "m.onnx", opset=17)
    assert conversion.parity.misses == ("the exporter produced operator set 16, expected 17",)


def test_what_cannot_be_exported_is_said_in_one_line(
    tiny_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Any:
        raise torch.onnx.errors.UnsupportedOperatorError("aten::frob", 17, 99)

    monkeypatch.setattr(program, "_record", fail)
    with pytest.raises(
        InputError, match="BertForSequenceClassification cannot be exported"
    ) as info:
        _convert(tiny_folder("bert"), tmp_path / "m.onnx", opset=17)
    assert "aten::frob" in info.value.message
    assert "\n" not in info.value.message
    assert not list(tmp_path.iterdir())


def test_a_quantized_model_is_refused(tiny_folder: Folder, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder("bert"), tmp_path / "q8")
    config = json.loads((tmp_path / "q8/config.json").read_text())
    config["quantization_config"] = {"quant_method": "compressed-tensors"}
    (tmp_path / "q8/config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="q8 is quantized"):
        _convert(tmp_path / "q8", tmp_path / "m.onnx", opset=17)


def test_a_real_sentence_encoder(minilm: Path, tmp_path: Path) -> None:
    conversion = _convert(minilm, tmp_path / "m.onnx", opset=17)
    assert conversion.passed
    worst = min(one.cosine for one in conversion.parity.outputs if one.cosine is not None)
    assert worst > 0.999999
    report = json.loads((tmp_path / "m.onnx.report.json").read_text())
    assert report["parity"]["opset"] == 17
    assert report["versions"].keys() >= {"torch", "onnx", "onnxscript", "transformers"}


@pytest.mark.slow
def test_a_real_sentence_encoder_by_default(minilm: Path, tmp_path: Path) -> None:
    conversion = _convert(minilm, tmp_path / "m.onnx")
    assert conversion.passed
    assert conversion.parity.opset == 20
