"""Small models of the kinds that people have, with random weights."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

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

from deepseek.compiler import frozen
from deepseek.compiler.backend import deepseek

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


def at_once(check: Callable[[int], None], cases: int = 4, turns: int = 20) -> None:
    """Call ``check`` with every case from as many threads, each beginning with another one."""
    wrong: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(turns):
                check((number + turn) % cases)
        except BaseException as error:  # noqa: BLE001 - told by the test
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(cases)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def through_dynamo(function: Any, **options: Any) -> Any:
    """A function or model as ``torch.compile`` makes it with the backend."""
    return torch.compile(function, backend=deepseek, **options)


def same(got: Any, expected: Any) -> None:
    """Numbers, strides and dtype are those of eager mode."""
    torch.testing.assert_close(got, expected, rtol=2e-5, atol=2e-6, equal_nan=True)
    if isinstance(expected, Tensor):
        assert got.stride() == expected.stride()
        assert got.dtype == expected.dtype


def layers() -> nn.Module:
    """A small model with a kernel of each plain kind."""
    return nn.Sequential(
        nn.Linear(8, 16),
        nn.GELU(),
        nn.LayerNorm(16),
        nn.Dropout(0.5),
        nn.Linear(16, 4),
        nn.Softmax(-1),
    )


@pytest.fixture
def fresh_dynamo(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing compiled before; and no graph that could not be rewritten."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()
    wrong = [record for record in caplog.records if "could not be rewritten" in record.message]
    assert wrong == []


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[frozen.Frozen]:
    """The inference graphs that Dynamo hands over, as they come."""
    made: list[frozen.Frozen] = []
    begin = frozen.Frozen.__init__

    def noted(self: frozen.Frozen, *arguments: Any) -> None:
        begin(self, *arguments)
        made.append(self)

    monkeypatch.setattr(frozen.Frozen, "__init__", noted)
    return made
