from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import deepseek
from deepseek.errors import InputError
from deepseek.formats.described import described
from deepseek.formats.model import load_model, recognise
from deepseek.formats.open import open_checkpoint
from deepseek.formats.quiet import quiet

_TEXTS = ["a short one", "Rather a longer sentence, with some rare words: mnemonic, quixotic."]


def _hidden(model: Any, tokenizer: Any) -> torch.Tensor:
    batch = tokenizer(_TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
    assert isinstance(hidden, torch.Tensor)
    return hidden


def test_a_real_encoder_computes_what_transformers_computes(minilm: Path) -> None:
    loaded = load_model(minilm)
    with quiet():
        theirs = transformers.AutoModel.from_pretrained(minilm, local_files_only=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(minilm, local_files_only=True)
    assert loaded.architecture == "BertModel"
    assert loaded.notes == ()
    assert loaded.tokenizer is not None
    assert loaded.tokenizer(_TEXTS)["input_ids"] == tokenizer(_TEXTS)["input_ids"]
    expected = _hidden(theirs, tokenizer)
    assert torch.equal(_hidden(loaded.model, loaded.tokenizer), expected)
    assert torch.equal(_hidden(deepseek.load(str(minilm)), tokenizer), expected)


def test_a_real_encoder_without_its_configuration(minilm: Path, tmp_path: Path) -> None:
    state = load_file(minilm / "model.safetensors")
    torch.save({"state_dict": {f"model.{n}": v for n, v in state.items()}}, tmp_path / "x.ckpt")
    loaded = load_model(tmp_path / "x.ckpt", tokenizer=minilm)
    assert loaded.config.num_attention_heads == 12
    expected = _hidden(deepseek.load(minilm), loaded.tokenizer)
    assert torch.equal(_hidden(loaded.model, loaded.tokenizer), expected)


def test_parameters_lie_on_the_pages_of_the_file(minilm: Path) -> None:
    loaded = load_model(minilm)
    lines = Path("/proc/self/maps").read_text().splitlines()
    ranges = [line.split()[0].split("-") for line in lines if "model.safetensors" in line]
    for parameter in loaded.model.parameters():
        address = parameter.data_ptr()
        assert any(int(begin, 16) <= address < int(end, 16) for begin, end in ranges)
    word = loaded.model.embeddings.word_embeddings.weight
    with torch.no_grad():
        word[0] = 7.0  # private: neither the file nor the next load sees it
    assert not (load_model(minilm).model.embeddings.word_embeddings.weight[0] == 7.0).any()


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "vit", "t5", "resnet"])
def test_folders_of_transformers(
    tiny: Callable[[str], Any], tiny_folder: Callable[[str], Path], name: str
) -> None:
    loaded = load_model(tiny_folder(name))
    model = tiny(name)
    assert type(loaded.model) is type(model)
    state = loaded.model.state_dict()
    assert list(state) == list(model.state_dict())
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert loaded.tokenizer is None
    assert recognise(loaded.checkpoint).architecture == loaded.architecture


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_type_of_the_checkpoint_is_kept(
    tmp_path: Path, tiny: Callable[[str], Any], dtype: torch.dtype
) -> None:
    model = tiny("bert")
    model.config.to_json_file(tmp_path / "config.json")
    save_file({n: v.to(dtype) for n, v in model.state_dict().items()}, tmp_path / "x.safetensors")
    loaded = load_model(tmp_path / "x.safetensors")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {dtype}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("classifier.weight"), r"1 tensors are missing \(classifier\.weight\)"),
        (lambda s: s.update(x=torch.ones(1)), r"1 have no place in it \(x\)"),
        (
            lambda s: s.update({"classifier.bias": torch.ones(4)}),
            r"1 are of another shape \(classifier\.bias: \[4\] in the file, \[3\] in the model\)",
        ),
        (
            lambda s: [s.pop(name) for name in list(s) if ".layer.1." in name],
            r"16 tensors are missing \(bert\.encoder\.layer\.1\..*, …\)",
        ),
    ],
)
def test_states_that_do_not_fit(
    tmp_path: Path, tiny: Callable[[str], Any], change: Callable[[Any], Any], message: str
) -> None:
    model = tiny("bert")
    model.config.architectures = ["BertForSequenceClassification"]
    model.config.to_json_file(tmp_path / "config.json")
    state = dict(model.state_dict())
    change(state)
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=message) as caught:
        load_model(tmp_path / "x.safetensors")
    assert "does not fit BertForSequenceClassification" in caught.value.message


def test_a_tokenizer_that_is_named_must_be_there(
    tmp_path: Path, tiny_folder: Callable[[str], Path]
) -> None:
    with pytest.raises(InputError, match="expected a tokenizer in"):
        load_model(tiny_folder("bert"), tokenizer=tmp_path)


def test_a_damaged_tokenizer_is_a_note(tmp_path: Path, tiny: Callable[[str], Any]) -> None:
    with quiet():
        tiny("bert").save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{ not JSON")
    loaded = load_model(tmp_path)
    assert loaded.tokenizer is None
    assert loaded.notes[0].startswith(f"the tokenizer in {tmp_path} cannot be loaded")


def test_a_checkpoint_is_completed_with_its_configuration(
    tmp_path: Path, tiny: Callable[[str], Any], tiny_folder: Callable[[str], Path]
) -> None:
    model = tiny("llama")
    torch.save({f"net.{name}": v for name, v in model.state_dict().items()}, tmp_path / "x.pt")
    checkpoint = described(open_checkpoint(tmp_path / "x.pt"))
    assert checkpoint.config is not None
    assert checkpoint.config["architectures"] == ["LlamaForCausalLM"]
    assert checkpoint.config["hidden_size"] == 32
    assert list(checkpoint.infos) == list(model.state_dict())
    assert checkpoint.shared == {"lm_head.weight": "model.embed_tokens.weight"}
    assert any("assumed" in note for note in checkpoint.notes)
    for name, value in model.state_dict().items():
        assert torch.equal(checkpoint.read(name), value)
    whole = open_checkpoint(tiny_folder("bert"))
    assert described(whole) is whole
