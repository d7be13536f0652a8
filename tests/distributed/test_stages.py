"""Stages, one after the other, are the model: outputs, gradients, names, and nothing copied."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ranks import Interrupted
from tiny import TinyBert, TinyGpt, make
from torch import Tensor, nn

from deepseek.distributed import Costs, Stage, split
from deepseek.distributed.stages import output_of
from deepseek.errors import InputError

IDS = {
    "input_ids": torch.tensor([[3, 4, 5, 6, 0, 0], [3, 4, 5, 6, 7, 8]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]),
}
PIXELS = {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)}
SMALL: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2,
    "intermediate_size": 32, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
GPT2: dict[str, Any] = {
    "vocab_size": 50, "n_positions": 16, "n_embd": 16, "n_layer": 4, "n_head": 2,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip


def chain(stages: list[Stage], inputs: dict[str, Tensor]) -> Tensor:
    hidden: list[Tensor] = []
    for stage in stages:
        hidden = [stage(*hidden, **inputs)]
    return hidden[0]


def gradients(model: nn.Module) -> dict[str, Tensor]:
    named = model.named_parameters(remove_duplicate=False)
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def check_split(model: nn.Module, inputs: dict[str, Tensor], count: int) -> list[Stage]:
    """The chain of stages against the whole; returns the stages."""
    model.eval()
    wanted = output_of(model(**inputs))
    wanted.square().mean().backward()
    whole = gradients(model)
    model.zero_grad()
    stages = split(model, count)
    found = chain(stages, inputs)
    assert torch.equal(found, wanted)
    found.square().mean().backward()
    total: dict[str, Tensor] = {}
    for stage in stages:
        for name, gradient in gradients(stage.model).items():
            total[name] = total.get(name, torch.zeros(())) + gradient
    for tie in stages[0].ties:
        names = {name for name in tie.names.values() if name in total}
        both = torch.stack([total[name] for name in names]).sum(dim=0)
        total |= dict.fromkeys(names, both)
    assert total.keys() == whole.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(total[name], gradient, rtol=1e-5, atol=1e-7)
    return stages


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["gpt", "bert"])
def test_stages_are_the_model(name: str, count: int) -> None:
    model, batches, _ = make(name)
    stages = check_split(model, batches[0][0], count)
    assert [(stage.index, stage.count) for stage in stages] == [(i, count) for i in range(count)]
    assert sum(len(stage.blocks) for stage in stages) == 4


def _families() -> dict[str, Callable[[], tuple[nn.Module, dict[str, Tensor]]]]:
    import transformers as hf

    tokens = {"num_key_value_heads": 1}
    image = {
        "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2,
        "intermediate_size": 32, "image_size": 8, "patch_size": 4, "num_labels": 3,
    }  # fmt: skip
    return {
        "bert masked": lambda: (hf.BertForMaskedLM(hf.BertConfig(**SMALL)), IDS),
        "bert classes": lambda: (
            hf.BertForSequenceClassification(hf.BertConfig(**SMALL, num_labels=3)), IDS),
        "gpt2": lambda: (hf.GPT2LMHeadModel(hf.GPT2Config(**GPT2)), IDS),
        "gpt2 classes": lambda: (
            hf.GPT2ForSequenceClassification(hf.GPT2Config(**GPT2, num_labels=3)), IDS),
        "llama": lambda: (hf.LlamaForCausalLM(hf.LlamaConfig(**SMALL, **tokens)), IDS),
        "vit": lambda: (hf.ViTForImageClassification(hf.ViTConfig(**image)), PIXELS),
    }  # fmt: skip


@pytest.mark.parametrize(
    "family", ["bert masked", "bert classes", "gpt2", "gpt2 classes", "llama", "vit"]
)
def test_families_of_transformers_need_nothing_special(family: str) -> None:
    torch.manual_seed(0)
    model, inputs = _families()[family]()
    stages = check_split(model, inputs, 3)
    tied = [tuple(tie.names.values()) for tie in stages[0].ties]
    assert tied == {
        "bert masked": [("bert.embeddings.word_embeddings.weight",
                         "cls.predictions.decoder.weight")],
        "gpt2": [("transformer.wte.weight", "lm_head.weight")],
    }.get(family, [])  # fmt: skip


def test_checkpointed_blocks_can_be_recomputed() -> None:
    model, inputs = _families()["gpt2"]()
    plain = chain(split(model, 2), inputs)
    model.activation_checkpointing_enable()
    stages = split(model.train(), 2)
    for stage in stages:
        for module in stage.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    found = chain(stages, inputs)
    found.mean().backward()
    assert found.shape == plain.shape
    assert stages[0].model.transformer.h[0].attn.c_attn.weight.grad is not None


def test_nothing_is_copied_but_ties_and_loose_parameters() -> None:
    model = TinyGpt()
    own = {p.data_ptr(): name for name, p in model.named_parameters(remove_duplicate=False)}
    stages = split(model, 4)
    for stage in stages:
        fresh = {n for n, p in stage.model.named_parameters() if p.data_ptr() not in own}
        assert fresh == {"position"} | ({"head.weight"} if stage.index == 3 else set())
    names = [set(dict(stage.model.named_parameters())) - {"position"} for stage in stages]
    assert set.union(*names) == set(own.values()) - {"position", "embed.weight"} | {"embed.weight"}
    assert sum(len(part) for part in names) == len(set.union(*names))


def test_only_the_wanted_stages_are_made() -> None:
    stages = split(TinyGpt(), 4, keep=(2, 0))
    assert [stage.index for stage in stages] == [0, 2]


def test_costs_move_the_cut() -> None:
    sizes = [len(stage.blocks) for stage in split(TinyGpt(), 2, Costs(0, (1, 1, 1, 1), 2))]
    assert sizes == [3, 1]


def test_a_model_without_data_can_be_split_and_filled() -> None:
    with torch.device("meta"):
        empty = TinyBert()
    (stage,) = split(empty, 2, keep=[1])
    assert all(parameter.is_meta for parameter in stage.parameters())
    full, batches, _ = make("bert")
    mine = {n: x for n, x in full.state_dict().items() if n in stage.model.state_dict()}
    stage.model.to_empty(device="cpu").load_state_dict(mine)
    (wanted,) = split(full, 2, keep=[1])
    hidden = torch.ones(8, 8, 16)
    assert torch.equal(stage(hidden, **batches[0][0]), wanted(hidden, **batches[0][0]))


class Chain(nn.Module):
    """Blocks of a class that is asked for, and modules in an order that is asked for."""

    def __init__(self, blocks: nn.ModuleList, *, norm_first: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        if norm_first:
            self.norm = nn.LayerNorm(4)
        self.blocks = blocks
        if not norm_first:
            self.norm = nn.LayerNorm(4)

    def forward(self, input_ids: Tensor) -> Tensor:
        hidden = self.embed(input_ids)
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden)


class Pair(nn.Linear):
    """Returns two tensors."""

    def forward(self, hidden: Tensor) -> Any:
        return super().forward(hidden), hidden


class TakesPairs(Chain):
    def forward(self, input_ids: Tensor) -> Tensor:
        hidden = self.embed(input_ids)
        for block in self.blocks:
            hidden, _ = block(hidden)
        return self.norm(hidden)


def linears(count: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(4, 4) for _ in range(count))


def t5() -> nn.Module:
    from transformers import T5Config, T5ForConditionalGeneration

    small = {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_heads": 2}
    return T5ForConditionalGeneration(T5Config(**small, num_layers=2))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: nn.Linear(3, 3), "expected one torch.nn.ModuleList.*found none"),
        (lambda: Chain(linears(1)), "found none"),
        (lambda: Chain(nn.ModuleList([nn.Linear(4, 4)] * 3)), "blocks repeats a block"),
        (lambda: nn.ModuleDict({"a": linears(2), "b": linears(2)}), r"found 2 lists \(a, b\)"),
        (t5, "T5ForConditionalGeneration: an encoder and a decoder"),
    ],
)
def test_models_of_another_form_are_refused(model: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(model(), 2)


def test_more_stages_than_blocks_are_refused() -> None:
    with pytest.raises(InputError, match="at most 4 stages, one a block of blocks, got 5"):
        split(TinyGpt(), 5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: Chain(linears(4), norm_first=True), "norm, which is registered before the blocks"),
        (Interrupted, "hand one tensor to the next block, unchanged, got Interrupted"),
        (lambda: TakesPairs(nn.ModuleList(Pair(4, 4) for _ in range(4))), "got TakesPairs"),
    ],
)
def test_a_model_that_breaks_the_form_when_it_runs_is_refused(
    model: Callable[[], nn.Module], message: str
) -> None:
    ids = {"input_ids": torch.tensor([[1, 2]])}
    assert output_of(whole := model()(**ids)) is whole
    with pytest.raises(InputError, match=message):
        chain(split(model(), 3), ids)


def test_an_exit_that_runs_early_is_refused() -> None:
    class Early(Chain):
        def forward(self, input_ids: Tensor) -> Tensor:
            hidden = self.norm(self.embed(input_ids))
            for block in self.blocks:
                hidden = block(hidden)
            return hidden

    with pytest.raises(InputError, match="norm, which is registered after the blocks"):
        chain(split(Early(linears(2)), 2), {"input_ids": torch.tensor([[1, 2]])})


def test_what_a_model_asks_its_embeddings_is_answered_without_their_data() -> None:
    class Asks(Chain):
        def forward(self, input_ids: Tensor) -> Tensor:
            hidden = self.embed(input_ids).to(self.embed.weight.dtype)
            for block in self.blocks:
                hidden = block(hidden)
            return self.norm(hidden)

    model = Asks(linears(2))
    ids = {"input_ids": torch.tensor([[1, 2]])}
    stages = split(model, 2)
    assert torch.equal(chain(stages, ids), model(**ids))
    assert stages[1].model.embed.weight.is_meta
