"""Small models of the kinds that people have, with random weights."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTModel,
)

Inputs = dict[str, Tensor]


def ids(batch: int, length: int) -> Inputs:
    return {"input_ids": torch.randint(0, 100, (batch, length))}


def masked_ids(batch: int, length: int) -> Inputs:
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[0, length // 2 :] = 0
    return {**ids(batch, length), "attention_mask": mask}


def pixels(batch: int, _length: int) -> Inputs:
    return {"pixel_values": torch.randn(batch, 3, 32, 32)}


SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def bert() -> nn.Module:
    return BertModel(BertConfig(**SMALL, intermediate_size=128, vocab_size=100))


def gpt2() -> nn.Module:
    config = GPT2Config(n_layer=2, n_embd=64, n_head=4, vocab_size=100, use_cache=False)
    return GPT2LMHeadModel(config)


def vit() -> nn.Module:
    return ViTModel(ViTConfig(**SMALL, intermediate_size=128, image_size=32, patch_size=8))


def llama() -> nn.Module:
    sizes = {"intermediate_size": 96, "num_key_value_heads": 2, "vocab_size": 100}
    return LlamaForCausalLM(LlamaConfig(**SMALL, **sizes, use_cache=False))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int, int], Inputs]]] = {
    "bert": (bert, masked_ids),
    "gpt2": (gpt2, ids),
    "vit": (vit, pixels),
    "llama": (llama, ids),
}


@pytest.fixture(params=MODELS)
def model_and_inputs(
    request: pytest.FixtureRequest,
) -> tuple[nn.Module, Callable[[int, int], Inputs]]:
    """A model in evaluation mode, and a function (batch, length) that makes inputs for it."""
    torch.manual_seed(0)
    make, inputs = MODELS[request.param]
    return make().eval(), inputs
