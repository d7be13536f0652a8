import hashlib
import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers

from deepseek.errors import InputError
from deepseek.formats.config import ConvertConfig
from deepseek.formats.convert import convert

Folder = Callable[[str], Path]
Models = Callable[[str], Any]


def _save_torch(model: Any, path: Path) -> Path:
    torch.save(model.state_dict(), path)
    return path


def _save_legacy(model: Any, path: Path) -> Path:
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)
    return path


def _save_lightning(model: Any, path: Path) -> Path:
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state, "optimizer_states": [{"lr": 0.1}]}, path)
    return path


_FILES: dict[str, Callable[[Any, Path], Path]] = {
    "torch": _save_torch,
    "legacy": _save_legacy,
    "lightning": _save_lightning,
}
_KINDS = ("hf", "safetensors", *_FILES)
_TARGETS = {"safetensors": "out.safetensors", "torch": "out.pt", "hf": "out", "sharded": "out"}


def _source(kind: str, name: str, tiny: Models, tiny_folder: Folder, tmp_path: Path) -> Path:
    """The tiny model as a source of a kind, its configuration beside it."""
    if kind == "hf":
        return tiny_folder(name)
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(tiny_folder(name) / "config.json", folder)
    if kind == "safetensors":
        shutil.copy(tiny_folder(name) / "model.safetensors", folder)
        return folder / "model.safetensors"
    return _FILES[kind](tiny(name), folder / "weights.ckpt")


def _load(target: str, place: Path) -> dict[str, torch.Tensor]:
    """What others read where we wrote."""
    if target == "torch":
        state: dict[str, torch.Tensor] = torch.load(place, weights_only=True)
        return state
    files = [place] if place.is_file() else sorted(place.glob("*.safetensors"))
    return {k: v for file in files for k, v in safetensors.torch.load_file(file).items()}


def _matrix() -> list[Any]:
    """Every source for the two classic families, one for the others; the rest is slow."""
    quick = {("bert", kind) for kind in _KINDS} | {("gpt2", "torch"), ("gpt2", "hf")}
    quick |= {("llama", "safetensors"), ("vit", "hf"), ("t5", "torch")}
    return [
        pytest.param(name, kind, marks=() if (name, kind) in quick else pytest.mark.slow)
        for name in ("bert", "gpt2", "llama", "vit", "t5")
        for kind in _KINDS
        if (name, kind) != ("t5", "lightning")  # see the test of the prefix that is no wrapper
    ]


@pytest.mark.parametrize("target", _TARGETS)
@pytest.mark.parametrize(("name", "kind"), _matrix())
def test_every_source_becomes_every_target(
    name: str, kind: str, target: str, tiny: Models, tiny_folder: Folder, tmp_path: Path
) -> None:
    source = _source(kind, name, tiny, tiny_folder, tmp_path)
    dest = tmp_path / _TARGETS[target]
    format_ = "safetensors" if target == "sharded" else target
    config = ConvertConfig(
        source=source, dest=dest, to=format_, shard_size=20_000 if target == "sharded" else None
    )
    conversion = convert(config)
    assert conversion.passed
    expected = tiny(name).state_dict()
    if kind in ("hf", "safetensors"):  # transformers may save under other names than it holds
        expected = safetensors.torch.load_file(tiny_folder(name) / "model.safetensors")
    found = _load(target, dest)
    assert set(found) <= set(expected)
    for key, value in found.items():
        assert torch.equal(value, expected[key]), key
    absent = set(expected) - set(found)
    held = [expected[key].data_ptr() for key in found]
    assert all(expected[key].data_ptr() in held for key in absent)
    report = json.loads(conversion.target.report_of(dest).read_text())
    assert report == conversion.document()
    assert report["passed"]
    if target == "hf":
        _assert_loads(dest, tiny(name))
    if target == "sharded":
        assert len(list(dest.glob("model-*-of-*.safetensors"))) > 1


def test_a_prefix_that_is_perhaps_no_wrapper_misses_the_gate_and_can_be_mapped(
    tiny: Models, tiny_folder: Folder, tmp_path: Path
) -> None:
    """BART has ``model.decoder`` of its own, so ``model.`` stays before the names of T5, too."""
    source = _source("lightning", "t5", tiny, tiny_folder, tmp_path)
    missed = convert(ConvertConfig(source=source, dest=tmp_path / "out"))
    assert missed.parity is not None
    assert "T5ForConditionalGeneration finds no tensor for" in missed.parity.misses[0]
    assert not (tmp_path / "out").exists()
    assert convert(ConvertConfig(source=source, dest=tmp_path / "out", map=("model=",))).passed
    _assert_loads(tmp_path / "out", tiny("t5"))


def _assert_loads(folder: Path, model: Any) -> None:
    auto = transformers.AutoModel.from_pretrained(folder)
    assert auto.config.model_type == model.config.model_type
    loaded, info = type(model).from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    assert not [
        key for key, value in loaded.state_dict().items()
        if not torch.equal(value, model.state_dict()[key])
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_tied_tensors_are_one_storage_in_torch_files(
    name: str, tiny: Models, tiny_folder: Folder, tmp_path: Path
) -> None:
    source = _source("torch", name, tiny, tiny_folder, tmp_path)
    convert(ConvertConfig(source=source, dest=tmp_path / "out.pt", dtype="bf16"))
    state = torch.load(tmp_path / "out.pt", weights_only=True)
    tied = [key for key in state if key.endswith(("lm_head.weight", "wte.weight", "shared.weight",
                                                  "embed_tokens.weight"))]  # fmt: skip
    assert len(tied) >= 2
    assert len({state[key].untyped_storage().data_ptr() for key in tied}) == 1


def test_tied_tensors_survive_through_safetensors_and_back(
    tiny: Models, tiny_folder: Folder, tmp_path: Path
) -> None:
    source = _source("torch", "gpt2", tiny, tiny_folder, tmp_path)
    steps = [source, tmp_path / "a.safetensors", tmp_path / "b", tmp_path / "c.pt"]
    for before, after in pairwise(steps):
        config = ConvertConfig(
            source=before, dest=after, to=None if after.suffix else "safetensors",
            shard_size=None if after.suffix else 9_000,
        )  # fmt: skip
        assert convert(config).passed
    state = torch.load(steps[-1], weights_only=True)
    assert set(state) == set(tiny("gpt2").state_dict())
    assert state["lm_head.weight"].data_ptr() == state["transformer.wte.weight"].data_ptr()


def test_a_tied_tensor_held_under_the_other_name_still_loads_with_auto_model(
    tiny: Models, tiny_folder: Folder, tmp_path: Path
) -> None:
    state = tiny("gpt2").state_dict()
    first = {"lm_head.weight": state["lm_head.weight"], **state}
    torch.save(first, tmp_path / "w.pt")
    shutil.copy(tiny_folder("gpt2") / "config.json", tmp_path)
    assert convert(ConvertConfig(source=tmp_path / "w.pt", dest=tmp_path / "out")).passed
    _, info = transformers.AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]


@pytest.mark.parametrize(("name", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
@pytest.mark.parametrize("target", ["safetensors", "torch", "hf"])
def test_a_change_of_type_rounds_to_nearest_and_says_by_how_much(
    name: str, dtype: torch.dtype, target: str, tiny: Models, tiny_folder: Folder, tmp_path: Path
) -> None:
    dest = tmp_path / _TARGETS[target]
    conversion = convert(ConvertConfig(source=tiny_folder("bert"), dest=dest, dtype=name))
    expected = {key: value.to(dtype) for key, value in tiny("bert").state_dict().items()}
    found = _load(target, dest)
    assert all(torch.equal(found[key], expected[key]) for key in found)
    errors = [
        (value.double() - expected[key].double()).abs().max().item()
        for key, value in tiny("bert").state_dict().items()
    ]
    assert conversion.parity is not None
    assert conversion.parity.tensors is not None
    assert conversion.parity.tensors.max_abs == max(errors) > 0
    if target == "hf":
        saved = json.loads((dest / "config.json").read_text())
        assert saved["dtype"] == str(dtype).removeprefix("torch.")
        assert transformers.AutoModel.from_pretrained(dest).dtype == dtype


def test_integers_keep_their_type(tmp_path: Path) -> None:
    tensors = {"a": torch.tensor([1, 2]), "b": torch.tensor([True]), "c": torch.tensor(2.5)}
    torch.save(tensors, tmp_path / "in.pt")
    convert(ConvertConfig(source=tmp_path / "in.pt", dest=tmp_path / "o.safetensors", dtype="fp16"))
    found = safetensors.torch.load_file(tmp_path / "o.safetensors")
    assert {key: value.dtype for key, value in found.items()} == {
        "a": torch.int64, "b": torch.bool, "c": torch.float16,
    }  # fmt: skip


def test_values_that_do_not_fit_the_type_miss_the_gate(tmp_path: Path) -> None:
    torch.save(
        {"fine": torch.ones(2), "large": torch.tensor([1e6, float("inf")])}, tmp_path / "w.pt"
    )
    config = ConvertConfig(source=tmp_path / "w.pt", dest=tmp_path / "o.pt", dtype="fp16")
    conversion = convert(config)
    assert not conversion.passed
    assert conversion.parity is not None
    assert conversion.parity.misses == ("values too large for torch.float16: large",)
    assert {path.name for path in tmp_path.iterdir()} == {"w.pt"}


def test_the_report_has_what_reproduces_the_result(tiny_folder: Folder, tmp_path: Path) -> None:
    dest = tmp_path / "out.safetensors"
    convert(ConvertConfig(source=tiny_folder("bert"), dest=dest))
    report = json.loads((tmp_path / "out.safetensors.report.json").read_text())
    assert report["schema"] == "deepseek.convert/1"
    (file,) = report["source"]["files"]
    content = (tiny_folder("bert") / "model.safetensors").read_bytes()
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert file["bytes"] == len(content)
    assert report["target"]["files"] == [{"name": dest.name, "bytes": dest.stat().st_size}]
    assert report["versions"]["torch"] == torch.__version__
    assert set(report["seconds"]) == {"reading", "writing", "checking", "hashing"}
    assert report["parity"]["tensors"]["max_abs"] == 0


def test_renames_reach_the_output(tiny_folder: Folder, tiny: Models, tmp_path: Path) -> None:
    dest = tmp_path / "out.pt"
    renames = ("bert=encoder", r"re:layer\.(\d+)=block.\1")
    assert convert(ConvertConfig(source=tiny_folder("bert"), dest=dest, map=renames)).passed
    expected = {
        key.replace("bert.", "encoder.", 1).replace("layer.", "block.")
        for key in tiny("bert").state_dict()
    }
    assert set(torch.load(dest, weights_only=True)) == expected


def test_the_files_of_a_tokenizer_come_along(tiny_folder: Folder, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny_folder("bert"), source)
    (source / "vocab.txt").write_text("old")
    (source / "secrets.json").write_text("{}")
    words = tmp_path / "words"
    words.mkdir()
    (words / "vocab.txt").write_text("new")
    convert(ConvertConfig(source=source, dest=tmp_path / "a"))
    convert(ConvertConfig(source=source, dest=tmp_path / "b", tokenizer=words))
    assert (tmp_path / "a/vocab.txt").read_text() == "old"
    assert (tmp_path / "b/vocab.txt").read_text() == "new"
    assert not (tmp_path / "a/secrets.json").exists()
    with pytest.raises(InputError, match="expected the files of a tokenizer, found none"):
        convert(ConvertConfig(source=source, dest=tmp_path / "c", tokenizer=tmp_path / "nowhere"))
    assert not (tmp_path / "c").exists()


def test_a_dry_run_says_everything_and_writes_nothing(tiny_folder: Folder, tmp_path: Path) -> None:
    dest = tmp_path / "out"
    config = ConvertConfig(source=tiny_folder("gpt2"), dest=dest, shard_size=9_000, dtype="bf16")
    planned = convert(
        ConvertConfig(source=config.source, dest=dest, shard_size=9_000, dtype="bf16", dry_run=True)
    )
    assert not list(tmp_path.iterdir())
    document = planned.document()
    assert document["dry_run"]
    assert not document["kept"]
    written = convert(config)
    files = document["target"]["files"]
    assert {file["name"] for file in files} == {file.name for file in written.files}
    sizes = {file.name: file.bytes for file in written.files}
    for file in files:
        tensors = _load("safetensors", dest / file["name"]) if file["tensors"] else {}
        assert {key: (list(t.shape), "bfloat16") for key, t in tensors.items()} == {
            key: (t["shape"], t["dtype"]) for key, t in file["tensors"].items()
        }
        # a file of tensors has a header besides
        assert 0 <= sizes[file["name"]] - file["bytes"] <= (4_000 if tensors else 0)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "vit", "t5"])
def test_a_source_without_configuration_is_recognised(
    name: str, tiny: Models, tmp_path: Path
) -> None:
    torch.save(tiny(name).state_dict(), tmp_path / "w.pt")
    conversion = convert(ConvertConfig(source=tmp_path / "w.pt", dest=tmp_path / "out"))
    assert conversion.passed
    assert any("recognised" in note for note in conversion.notes)
    state = safetensors.torch.load_file(tmp_path / "out/model.safetensors")
    values = sorted(tensor.sum().item() for tensor in tiny(name).state_dict().values())
    assert {tensor.sum().item() for tensor in state.values()} == set(values)
    transformers.AutoModel.from_pretrained(tmp_path / "out")


def test_what_is_not_recognised_needs_a_configuration(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(2, 2)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="of no architecture that is recognised") as caught:
        convert(ConvertConfig(source=tmp_path / "w.pt", dest=tmp_path / "out"))
    assert "--model_config" in str(caught.value.hint)
    assert {path.name for path in tmp_path.iterdir()} == {"w.pt"}


@pytest.mark.parametrize("target", ["safetensors", "torch"])
def test_the_weights_of_an_onnx_program_come_out_again(
    target: str, tiny: Models, tiny_folder: Folder, tmp_path: Path
) -> None:
    program = ConvertConfig(source=tiny_folder("bert"), dest=tmp_path / "m.onnx", opset=17)
    assert convert(program).passed
    dest = tmp_path / _TARGETS[target]
    assert convert(ConvertConfig(source=tmp_path / "m.onnx", dest=dest)).passed
    found = _load(target, dest)
    embeddings = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(found[embeddings], tiny("bert").state_dict()[embeddings])


def test_a_gguf_file_becomes_safetensors(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    weights = torch.randn(4, 32)
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("token_embd.weight", weights.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    dest = tmp_path / "m.safetensors"
    assert convert(ConvertConfig(source=tmp_path / "m.gguf", dest=dest)).passed
    (found,) = safetensors.torch.load_file(dest).values()
    assert torch.equal(found, weights)


def test_a_tensor_larger_than_a_shard_is_noted(tiny_folder: Folder, tmp_path: Path) -> None:
    config = ConvertConfig(source=tiny_folder("gpt2"), dest=tmp_path / "out", shard_size=100)
    conversion = convert(config)
    assert conversion.passed
    assert any("larger than the shard size of 100 B" in note for note in conversion.notes)
