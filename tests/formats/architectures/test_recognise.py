"""Tiny models of every family, saved without their configuration and recognised again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

from deepseek.errors import InputError
from deepseek.formats.model import load_model
from deepseek.formats.quiet import quiet

_ENCODER = {
    "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "vocab_size": 100,
}  # fmt: skip
_DECODER = {**_ENCODER, "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2}
_DISTIL = {"dim": 128, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 100}
_GPT2 = {
    "n_embd": 128, "n_layer": 2, "n_head": 2, "n_inner": 96, "vocab_size": 100, "n_positions": 32,
    "bos_token_id": 99, "eos_token_id": 99,
}  # fmt: skip
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 2, "vocab_size": 100}
_VIT = {
    **{key: value for key, value in _ENCODER.items() if key != "vocab_size"},
    "image_size": 32,
    "patch_size": 8,
}
_RESNET = {"embedding_size": 8, "depths": [1, 2]}

# Settings of a family, and the classes that are recognised with them.
_FAMILIES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "Bert": (
        _ENCODER,
        ("Model", "ForMaskedLM", "ForPreTraining", "ForSequenceClassification",
         "ForTokenClassification", "ForQuestionAnswering", "ForNextSentencePrediction"),
    ),
    "Roberta": (
        {**_ENCODER, "type_vocab_size": 1, "max_position_embeddings": 66, "layer_norm_eps": 1e-5},
        ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification",
         "ForQuestionAnswering"),
    ),
    "Albert": (
        {**_ENCODER, "num_hidden_layers": 12, "embedding_size": 16},
        ("Model", "ForMaskedLM", "ForPreTraining", "ForSequenceClassification",
         "ForTokenClassification", "ForQuestionAnswering"),
    ),
    "DistilBert": (
        _DISTIL,
        ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification",
         "ForQuestionAnswering"),
    ),
    "GPT2": (
        _GPT2,
        ("Model", "LMHeadModel", "ForSequenceClassification", "ForTokenClassification"),
    ),
    "Llama": (_DECODER, ("Model", "ForCausalLM", "ForSequenceClassification")),
    "Mistral": (
        {**_DECODER, "vocab_size": 32_768, "sliding_window": None, "rms_norm_eps": 1e-5,
         "rope_theta": 1e6},
        ("ForCausalLM",),
    ),
    "Qwen2": (_DECODER, ("Model", "ForCausalLM")),
    "Qwen3": ({**_DECODER, "head_dim": 32}, ("Model", "ForCausalLM")),
    "ViT": (_VIT, ("Model", "ForImageClassification")),
    "ResNet": (
        {**_RESNET, "hidden_sizes": [32, 64], "layer_type": "bottleneck"},
        ("Model", "ForImageClassification"),
    ),
    "T5": (
        _T5,
        ("ForConditionalGeneration", "EncoderModel", "ForSequenceClassification"),
    ),
}  # fmt: skip
_CASES = [(family, suffix) for family, (_, classes) in _FAMILIES.items() for suffix in classes]


def _model(name: str, settings: dict[str, Any]) -> Any:
    kind = getattr(transformers, name)
    config = kind.config_class(**settings)
    if "Classification" in name:
        config.num_labels = 3
    torch.manual_seed(1)
    with quiet():
        return kind(config).eval()


def _as_torch(model: Any, folder: Path) -> Path:
    torch.save(model.state_dict(), folder / "model.pt")
    return folder / "model.pt"


def _as_old_torch(model: Any, folder: Path) -> Path:
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save(state, folder / "old.ckpt", _use_new_zipfile_serialization=False)
    return folder / "old.ckpt"


def _as_folder(model: Any, folder: Path) -> Path:
    with quiet():
        model.save_pretrained(folder / "hf")
    (folder / "hf" / "config.json").unlink()
    return folder / "hf"


_WAYS: dict[str, Callable[[Any, Path], Path]] = {
    "torch": _as_torch,
    "legacy": _as_old_torch,
    "safetensors": _as_folder,
}


@pytest.mark.parametrize(("family", "suffix"), _CASES)
def test_a_model_without_configuration(tmp_path: Path, family: str, suffix: str) -> None:
    settings, classes = _FAMILIES[family]
    name = family + suffix
    model = _model(name, settings)
    expected = model.config.to_dict()
    told = [key for key in settings if not key.endswith("_token_id") and key in expected]
    for way in _WAYS.values() if suffix == classes[0] else (_as_torch,):
        loaded = load_model(way(model, tmp_path))
        assert loaded.architecture == name
        assert type(loaded.model).__name__ == name
        state = loaded.model.state_dict()
        assert list(state) == list(model.state_dict())
        assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
        found = loaded.config.to_dict()
        assert {key: found[key] for key in told} == {key: expected[key] for key in told}
        assert loaded.config.num_labels == model.config.num_labels
        assert not loaded.model.training
        assert f"recognised {name} by names and shapes" in loaded.notes


def test_what_shapes_cannot_tell_is_said(tmp_path: Path) -> None:
    settings = {**_ENCODER, "hidden_size": 384, "num_attention_heads": 12}
    loaded = load_model(_as_torch(_model("BertModel", settings), tmp_path))
    assert loaded.config.num_attention_heads == 12
    (note,) = [note for note in loaded.notes if "attention heads" in note]
    assert note.startswith("assumed 12 attention heads of 32, as BERT models of width 384")
    assert note.endswith("shapes do not tell, --model_config settles it")

    config = tmp_path / "config.json"
    model = _model("BertModel", {**_ENCODER, "num_attention_heads": 4})
    path = _as_torch(model, tmp_path)
    assert load_model(path).config.num_attention_heads == 2
    model.config.architectures = ["BertModel"]
    model.config.to_json_file(config)
    loaded = load_model(path, config=config)
    assert loaded.config.num_attention_heads == 4
    assert not any("assumed" in note for note in loaded.notes)


_FORMER = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


def test_names_of_old_and_of_trainers(tmp_path: Path) -> None:
    model = _model("BertForSequenceClassification", _ENCODER)
    state = {}
    for name, value in model.state_dict().items():
        former = next((old for new, old in _FORMER.items() if name.endswith(new)), None)
        stem = name.rpartition("LayerNorm.")[0]
        state[f"net.encoder.{stem + former if former else name}"] = value
    state["net.encoder.bert.embeddings.position_ids"] = torch.arange(512)[None]
    save_file(state, tmp_path / "x.safetensors")
    loaded = load_model(tmp_path / "x.safetensors")
    assert loaded.architecture == "BertForSequenceClassification"
    model.config.to_json_file(tmp_path / "config.json")
    for one in (loaded, load_model(tmp_path / "x.safetensors")):
        found = one.model.state_dict()
        assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())


def test_parts_that_the_class_does_not_use(tmp_path: Path) -> None:
    model = _model("BertForMaskedLM", _ENCODER)
    state = {**model.state_dict(), "bert.pooler.dense.weight": torch.ones(128, 128)}
    state["bert.pooler.dense.bias"] = torch.ones(128)
    torch.save(state, tmp_path / "x.pt")
    assert load_model(tmp_path / "x.pt").architecture == "BertForMaskedLM"


def test_a_base_model_without_its_pooler(tmp_path: Path) -> None:
    model = _model("BertModel", _ENCODER)
    state = {name: v for name, v in model.state_dict().items() if not name.startswith("pooler")}
    torch.save(state, tmp_path / "x.pt")
    loaded = load_model(tmp_path / "x.pt")
    assert loaded.architecture == "BertModel"
    assert loaded.model.pooler is None
    model.config.architectures = ["BertModel"]
    model.config.to_json_file(tmp_path / "config.json")
    loaded = load_model(tmp_path / "x.pt")
    assert loaded.model.pooler is None
    assert loaded.notes == ("built with add_pooling_layer=False",)


def test_a_tied_language_model(tmp_path: Path) -> None:
    for family in ("Llama", "Qwen2"):
        settings = {**_DECODER, "tie_word_embeddings": True}
        model = _model(f"{family}ForCausalLM", settings)
        for way in _WAYS.values():
            loaded = load_model(way(model, tmp_path))
            assert loaded.architecture == f"{family}ForCausalLM"
            head, embedding = loaded.model.lm_head, loaded.model.model.embed_tokens
            assert head.weight is embedding.weight
            assert torch.equal(head.weight, model.lm_head.weight)


def test_t5_of_version_1_1_with_a_head_of_its_own(tmp_path: Path) -> None:
    settings = {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    model = _model("T5ForConditionalGeneration", settings)
    model.lm_head.weight = nn.Parameter(torch.randn(100, 32))
    loaded = load_model(_as_torch(model, tmp_path))
    assert loaded.architecture == "T5ForConditionalGeneration"
    inputs = {"input_ids": torch.arange(9)[None], "decoder_input_ids": torch.arange(4)[None]}
    with torch.inference_mode():
        assert torch.equal(loaded.model(**inputs).logits, model(**inputs).logits)
    assert not torch.equal(loaded.model.lm_head.weight, loaded.model.shared.weight)


def test_settings_of_position_from_their_table(tmp_path: Path) -> None:
    model = _model("LlamaForCausalLM", {**_DECODER, "rope_theta": 5e5, "head_dim": 32})
    state = model.state_dict()
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    state[name] = model.model.rotary_emb.inv_freq.clone()
    torch.save(state, tmp_path / "x.pt")
    loaded = load_model(tmp_path / "x.pt")
    assert loaded.config.head_dim == 32
    assert loaded.config.rope_parameters["rope_theta"] == 5e5
    assert any("rope_theta of 500000" in note for note in loaded.notes)


class _Block(nn.Module):
    """A bottleneck block under torchvision's names."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride != 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn3(self.conv3(self.bn2(self.conv2(y)).relu()))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class _ResNet(nn.Module):
    """The published network (stride in the 3 x 3 convolution), small."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(_Block(8, 8, 1), _Block(32, 8, 1))
        self.layer2 = nn.Sequential(_Block(32, 16, 2))
        self.layer3 = nn.Sequential(_Block(64, 32, 2))
        self.layer4 = nn.Sequential(_Block(128, 64, 2), _Block(256, 64, 1))
        self.fc = nn.Linear(256, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def test_a_resnet_of_torchvision_computes_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = _ResNet()
    for _ in range(3):
        model(torch.randn(4, 3, 64, 64))  # statistics of the batch norms
    model.eval()
    state = model.state_dict()
    torch.save({n: v for n, v in state.items() if "num_batches" not in n}, tmp_path / "x.pth")
    loaded = load_model(tmp_path / "x.pth")
    assert loaded.architecture == "ResNetForImageClassification"
    assert loaded.config.depths == [2, 1, 1, 2]
    pictures = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        found = loaded.model(pictures).logits
        assert torch.allclose(found, model(pictures), rtol=1e-5, atol=1e-6)
    loaded.config.to_json_file(tmp_path / "config.json")
    again = load_model(tmp_path / "x.pth")
    assert not again.notes
    with torch.inference_mode():
        assert torch.equal(again.model(pictures).logits, found)


_STRANGE: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "a layer that is left out": (
        lambda state: [
            state.pop(name) for name in list(state) if name.startswith("bert.encoder.layer.0.out")
        ],
        r"nearest: BERT \(7 of 8 names; no encoder\.layer\.0\.output\.dense\.weight\)",
    ),
    "relative positions": (
        lambda state: state.update(
            {"bert.encoder.layer.0.attention.self.distance_embedding.weight": torch.ones(3, 3)}
        ),
        r"nearest: BERT \(8 of 8 names; relative position embeddings\)",
    ),
    "an embedding of another rank": (
        lambda state: state.update({"bert.embeddings.word_embeddings.weight": torch.ones(3)}),
        r"BERT \(8 of 8 names; embeddings\.word_embeddings\.weight of shape \[3\]\)",
    ),
    "a number left out": (
        lambda state: [
            state.update({name.replace("layer.1", "layer.5"): state.pop(name)})
            for name in list(state)
        ],
        r"encoder\.layer\.1 is left out",
    ),
}


@pytest.mark.parametrize("change", _STRANGE)
def test_the_nearest_families_and_what_differs(tmp_path: Path, change: str) -> None:
    state = dict(_model("BertForMaskedLM", _ENCODER).state_dict())
    alter, message = _STRANGE[change]
    alter(state)
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(InputError, match=message) as caught:
        load_model(tmp_path / "x.pt")
    assert caught.value.hint == "name the config.json of the model with --model_config"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("GemmaForCausalLM", {"vocab_size": 256_000}, "as Gemma has, whose norms differ"),
        ("Gemma2ForCausalLM", {}, "norms before and after each part, as Gemma 2 has"),
        ("DeiTModel", {"image_size": 32, "patch_size": 8}, "a distillation token, as DeiT has"),
    ],
)
def test_families_that_look_alike_are_not_taken_for_each_other(
    tmp_path: Path, name: str, settings: dict[str, Any], message: str
) -> None:
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    decoder = {"num_key_value_heads": 1, "head_dim": 8} if "Gemma" in name else {}
    model = _model(name, {**_ENCODER, **small, **decoder, **settings})
    with pytest.raises(InputError, match=message):
        load_model(_as_folder(model, tmp_path))


def test_names_of_nothing_known(tmp_path: Path) -> None:
    save_file({"alpha": torch.ones(2), "beta.gamma": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"has names \(alpha, beta\.gamma\) of no architecture"):
        load_model(tmp_path / "x.safetensors")
