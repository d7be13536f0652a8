import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from deepseek.errors import InputError
from deepseek.formats.model import load_model
from deepseek.formats.quiet import quiet


def _folder(model: Any, folder: Path, **changes: object) -> Path:
    """A Hugging Face folder of the model, its configuration changed; None removes a key."""
    with quiet():
        model.save_pretrained(folder)
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bertt"}, "transformers has no model of type 'bertt'"),
        ({"architectures": ["Bert4You"]}, "transformers has no model Bert4You of type bert"),
        ({"architectures": ["pipeline"]}, "transformers has no model pipeline"),
        ({"architectures": ["GPT2Model"]}, "transformers has no model GPT2Model of type bert"),
        ({"hidden_size": "wide"}, "cannot be read as a configuration of bert"),
        ({"hidden_size": 33}, r"cannot be read as a configuration"),
        ({"hidden_size": 0}, r"cannot be read|does not fit"),
        ({"hidden_act": "unheard"}, "cannot be read as a configuration"),
        ({"num_hidden_layers": 3}, r"does not fit .*: 16 tensors are missing"),
        ({"num_hidden_layers": 1}, r"does not fit .*: 16 have no place in it"),
        ({"num_hidden_layers": 10**9}, "its configuration has 1000000000 for num_hidden_layers"),
        (
            {"intermediate_size": 65},
            r"does not fit .* 6 are of another shape .*: \[64\] in the file, \[65\] in",
        ),
        ({"vocab_size": 10**9}, "describes .* parameters, the file holds"),
        ({"max_position_embeddings": 10**12}, "describes .* parameters, the file holds"),
    ],
)
def test_configurations_that_do_not_fit(
    tmp_path: Path, tiny: Callable[[str], Any], changes: dict[str, object], message: str
) -> None:
    folder = _folder(tiny("bert"), tmp_path / "m", **changes)
    with pytest.raises(InputError, match=message) as caught:
        load_model(folder)
    assert "\n" not in caught.value.message


def test_a_near_type_is_offered(tmp_path: Path, tiny: Callable[[str], Any]) -> None:
    with pytest.raises(InputError) as caught:
        load_model(_folder(tiny("bert"), tmp_path / "m", model_type="bertt"))
    assert caught.value.hint == "did you mean bert?"


def test_code_that_a_model_brings_is_not_run(tmp_path: Path, tiny: Callable[[str], Any]) -> None:
    marker = tmp_path / "it_ran"
    code = f"open({str(marker)!r}, 'w').close()\n"
    own = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    folder = _folder(tiny("bert"), tmp_path / "known", auto_map=own)
    (folder / "own.py").write_text(code)
    assert load_model(folder).architecture == "BertForSequenceClassification"
    folder = _folder(tiny("bert"), tmp_path / "own", auto_map=own, model_type="own")
    (folder / "own.py").write_text(code)
    with pytest.raises(InputError) as caught:
        load_model(folder)
    assert caught.value.hint == "the model brings its own code, which is never run"
    assert not marker.exists()


def test_a_tokenizer_that_brings_code_is_not_run(
    tmp_path: Path, tiny: Callable[[str], Any]
) -> None:
    marker = tmp_path / "it_ran"
    folder = _folder(tiny("bert"), tmp_path / "m")
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    (folder / "tokenizer.json").write_text("{}")
    own = {"auto_map": {"AutoTokenizer": ["own.Own", None]}, "tokenizer_class": "Own"}
    (folder / "tokenizer_config.json").write_text(json.dumps(own))
    loaded = load_model(folder)
    assert loaded.tokenizer is None
    assert any("the tokenizer in" in note for note in loaded.notes)
    with pytest.raises(InputError, match=r"the tokenizer in .* cannot be loaded"):
        load_model(folder, tokenizer=folder)
    assert not marker.exists()


def test_without_architectures_the_tensors_show_the_class(
    tmp_path: Path, tiny: Callable[[str], Any]
) -> None:
    loaded = load_model(_folder(tiny("bert"), tmp_path / "m", architectures=None))
    assert loaded.architecture == "BertForSequenceClassification"
    assert loaded.notes == ("the tensors show BertForSequenceClassification",)


def test_the_class_that_fits_is_taken_where_the_configuration_is_wrong(
    tmp_path: Path, tiny: Callable[[str], Any]
) -> None:
    loaded = load_model(_folder(tiny("bert"), tmp_path / "m", architectures=["BertModel"]))
    assert loaded.architecture == "BertForSequenceClassification"
    assert loaded.notes == (
        "the tensors show BertForSequenceClassification, while the configuration says BertModel",
    )


def test_a_family_that_is_not_in_the_table(tmp_path: Path) -> None:
    config = transformers.GPTNeoXConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        vocab_size=50, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.GPTNeoXForCausalLM(config).eval()
    loaded = load_model(_folder(model, tmp_path / "m"))
    assert loaded.architecture == "GPTNeoXForCausalLM"
    ids = torch.arange(9)[None]
    with torch.inference_mode():
        assert torch.equal(loaded.model(ids).logits, model(ids).logits)
    base = _folder(model.gpt_neox, tmp_path / "base", architectures=None)
    loaded = load_model(base)
    assert loaded.architecture == "GPTNeoXModel"
    assert loaded.notes == ("the configuration names no architecture: taken for the base model",)


def test_a_language_model_that_was_saved_without_prefix_and_head(
    tmp_path: Path, tiny: Callable[[str], Any]
) -> None:
    model = tiny("gpt2")
    model.config.architectures = ["GPT2LMHeadModel"]
    model.config.to_json_file(tmp_path / "config.json")
    base = model.transformer.state_dict()
    torch.save(base, tmp_path / "pytorch_model.bin")
    loaded = load_model(tmp_path)
    assert loaded.architecture == "GPT2LMHeadModel"
    ids = torch.arange(9)[None]
    with torch.inference_mode():
        assert torch.equal(loaded.model(ids).logits, model(ids).logits)


def test_tensors_that_modules_now_compute_are_passed_over(
    tmp_path: Path, tiny: Callable[[str], Any]
) -> None:
    model = tiny("gpt2")
    config = tmp_path / "config.json"
    model.config.to_json_file(config)
    state = dict(model.state_dict())
    state["transformer.h.0.attn.bias"] = torch.ones(1, 1, 64, 64)
    state["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
    torch.save(state, tmp_path / "x.bin")
    assert load_model(tmp_path / "x.bin").architecture == "GPT2LMHeadModel"
    state["transformer.h.0.attn.surprise"] = torch.ones(1)
    torch.save(state, tmp_path / "x.bin")
    with pytest.raises(InputError, match=r"1 have no place in it \(.*attn\.surprise\)"):
        load_model(tmp_path / "x.bin")
