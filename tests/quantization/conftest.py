"""Small models of real architectures, a tokenizer for them, and data they can be measured on."""

import json

import pytest
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from deepseek.nn.int8_arithmetic import int8_linear_reference
from deepseek.nn.int8_linear import Int8Linear
from deepseek.quantization.search.speed import Times

WORDS = [f"w{number}" for number in range(60)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]

TEXT = {"vocab_size": 64, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 80, "max_position_embeddings": 40}  # fmt: skip
CONFIGS = {
    "BertForSequenceClassification": ("BertConfig", {**TEXT, "num_labels": 3}),
    "BertModel": ("BertConfig", TEXT),
    "BertForMaskedLM": ("BertConfig", TEXT),
    "RobertaForSequenceClassification": ("RobertaConfig", {**TEXT, "pad_token_id": 0}),
    "LlamaForCausalLM": ("LlamaConfig", {**TEXT, "num_key_value_heads": 2, "pad_token_id": 0}),
    "LlamaForSequenceClassification": (
        "LlamaConfig", {**TEXT, "num_key_value_heads": 2, "pad_token_id": 0, "num_labels": 3}),
    "GPT2ForSequenceClassification": (
        "GPT2Config", {"vocab_size": 64, "n_embd": 48, "n_layer": 2, "n_head": 4,
                       "n_positions": 40, "pad_token_id": 0, "num_labels": 3}),
    "GPT2LMHeadModel": (
        "GPT2Config", {"vocab_size": 64, "n_embd": 48, "n_layer": 2, "n_head": 4,
                       "n_positions": 40}),
    "ViTForImageClassification": (
        "ViTConfig", {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
                      "intermediate_size": 80, "image_size": 16, "patch_size": 8,
                      "num_labels": 3}),
    "T5ForConditionalGeneration": (
        "T5Config", {"vocab_size": 64, "d_model": 48, "d_kv": 12, "d_ff": 80, "num_layers": 2,
                     "num_heads": 4, "decoder_start_token_id": 0}),
}  # fmt: skip


torch.set_num_threads(1)  # for models this small a second thread only waits


@pytest.fixture(autouse=True)
def _int8_is_faster(monkeypatch):
    """Layers this small are not, and what a clock says is no ground for a test."""
    monkeypatch.setattr(
        "deepseek.quantization.search.speed.time_pair", lambda *_: Times(before=2.0, after=1.0)
    )


def _tiny(name: str, **changes):
    torch.manual_seed(0)
    kind, settings = CONFIGS[name]
    config = getattr(transformers, kind)(**{**settings, **changes})
    config.architectures = [name]
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():  # the usual start is so small that every layer gives nearly nothing
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    return model


def _inputs(model, records: int = 6, tokens: int = 9, seed: int = 0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    if hasattr(model.config, "image_size"):
        pictures = torch.randn(records, 3, 16, 16, generator=generator)
        return {"pixel_values": pictures.to(dtype)}
    ids = torch.randint(4, 64, (records, tokens), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(1, records, 2):
        mask[row, tokens - row % tokens :] = 0
    inputs = {"input_ids": ids * mask, "attention_mask": mask}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = inputs["input_ids"]
    return inputs


def _tokenizer():
    vocabulary = {word: number for number, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", model_max_length=40,
    )  # fmt: skip


def _sentences(count: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return [
        " ".join(WORDS[i] for i in torch.randint(60, (2 + n % 9,), generator=generator).tolist())
        for n in range(count)
    ]


@pytest.fixture
def tiny():
    """Builds a model: ``tiny("BertModel", num_hidden_layers=1)``."""
    return _tiny


@pytest.fixture
def inputs():
    """Builds inputs for a model, some of them padded: ``inputs(model, records=4)``."""
    return _inputs


@pytest.fixture
def in_floats(monkeypatch):
    """Makes our layers add floating-point products, as the library does, instead of integers."""

    def forward(layer, x):
        tensors = layer.weight, layer.weight_scale, layer.bias, layer.sums
        return int8_linear_reference(x, *tensors)

    return lambda: monkeypatch.setattr(Int8Linear, "forward", forward)


@pytest.fixture
def tokenizer():
    return _tokenizer()


@pytest.fixture
def sentences():
    """Makes texts of two to ten known words."""
    return _sentences


@pytest.fixture
def checkpoint(tmp_path, tokenizer):
    """Saves a model as a torch checkpoint with its configuration and tokenizer beside it."""

    def save(model):
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        torch.save(model.state_dict(), folder / "bert.ckpt")
        model.config.to_json_file(folder / "config.json")
        tokenizer.save_pretrained(folder)
        return folder / "bert.ckpt"

    return save


@pytest.fixture
def dataset(tmp_path, tokenizer):
    """Writes texts with the classes that a model itself gives them, so that it is never wrong."""

    def write(model, texts, name="all.jsonl"):
        folder = tmp_path / "dataset"
        folder.mkdir(exist_ok=True)
        with torch.inference_mode():
            labels = [
                model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False))
                .logits.argmax()
                .item()
                for text in texts
            ]
        rows = ({"text": t, "label": n} for t, n in zip(texts, labels, strict=True))
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    return write


def _spoil(model):
    """Huge weights for a feature that is always zero: they change nothing, but eat all steps."""
    fed_by_a_norm = ("query", "key", "value", "intermediate.dense", "pooler.dense")
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight[0] = module.bias[0] = 0
            if name.endswith(fed_by_a_norm):
                module.weight[:, 0] = 1000
    return model


@pytest.fixture
def spoil():
    return _spoil
