"""Every task on a model of its kind, from data as people have it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepseek.data.packed.field import Field
from deepseek.data.packed.writer import PackedWriter
from deepseek.formats.model import load_model
from deepseek.training.config import OptimizerConfig, TrainConfig
from deepseek.training.tasks import IGNORED, Vocabulary
from deepseek.training.tasks.causal_lm import causal_lm
from deepseek.training.tasks.masked_lm import masked_lm
from deepseek.training.train import train

Make = Callable[..., TrainConfig]

BERT = (
    "hidden_size=16", "num_hidden_layers=2", "num_attention_heads=2", "intermediate_size=32",
    "max_position_embeddings=32", "hidden_dropout_prob=0.0", "attention_probs_dropout_prob=0.0",
)  # fmt: skip


def test_causal_lm_asks_for_the_next_token() -> None:
    tokens = torch.tensor([[5, 6, 7], [8, 9, 10]], dtype=torch.int32)
    inputs, labels = causal_lm(None, 0).prepare({"tokens": tokens}, torch.arange(2))
    assert inputs["input_ids"].tolist() == tokens.tolist()
    assert labels.tolist() == [[6, 7, IGNORED], [9, 10, IGNORED]]


def test_masked_lm_hides_a_share_that_depends_on_seed_and_place_alone() -> None:
    vocabulary = Vocabulary(size=1000, pad=0, mask=1, special=(0, 1))
    tokens = torch.randint(2, 1000, (400, 64), generator=torch.Generator().manual_seed(0))
    task = masked_lm(vocabulary, 3)
    inputs, labels = task.prepare({"tokens": tokens}, torch.arange(400))
    asked = labels != IGNORED
    hidden = inputs["input_ids"] == 1
    assert float(asked.float().mean()) == pytest.approx(0.15, abs=0.01)
    assert float(hidden[asked].float().mean()) == pytest.approx(0.8, abs=0.02)
    assert torch.equal(labels[asked], tokens[asked])
    assert torch.equal(inputs["input_ids"][~asked], tokens[~asked])
    half, half_labels = task.prepare({"tokens": tokens[200:]}, torch.arange(200, 400))
    assert torch.equal(half["input_ids"], inputs["input_ids"][200:])
    assert torch.equal(half_labels, labels[200:])
    _, others = task.prepare({"tokens": tokens}, torch.arange(400, 800))
    assert not torch.equal(others, labels)


def test_masked_lm_of_raw_text(tmp_path: Path, tiny: Make) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat and the dog sat on the log\n\n" * 40)
    report = train(
        tiny(
            task="masked_lm",
            model="bert",
            model_options=BERT,
            data=str(text),
            tokenizer="bytes",
            steps=20,
            optimizer=OptimizerConfig(lr=0.02),
        )
    )
    assert report["last_loss"] < report["first_loss"] - 1.0
    loaded = load_model(tmp_path / "run" / "model")
    assert loaded.architecture == "BertForMaskedLM"
    assert loaded.tokenizer is not None
    encoded = loaded.tokenizer("the cat")["input_ids"]
    assert loaded.tokenizer.decode(encoded) == "the cat"


def test_sequence_classification_of_labelled_lines(tmp_path: Path, tiny: Make) -> None:
    rows = [{"text": f"{'good' if n % 2 else 'bad'} film number {n}", "label": "pos" if n % 2 else
             "neg"} for n in range(80)]  # fmt: skip
    data = tmp_path / "reviews.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = train(
        tiny(
            task="sequence_classification",
            model="bert",
            model_options=BERT,
            data=str(data),
            tokenizer="bytes",
            sequence_length=32,
            steps=60,
            batch_size=16,
            optimizer=OptimizerConfig(lr=0.005),
            eval_share=0.2,
        )
    )
    assert report["held_out"]["accuracy"] > 0.9
    assert report["held_out"]["labels"] == 16
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "neg", "1": "pos"}


def test_image_classification_of_packed_pictures(tmp_path: Path, tiny: Make) -> None:
    draws = np.random.default_rng(0)
    fields = [Field("image", "uint8", (1, 8, 8)), Field("label", "int64")]
    with PackedWriter(tmp_path / "pictures", fields) as writer:
        for number in range(60):
            label = number % 3
            image = draws.integers(0, 80, (1, 8, 8), dtype=np.uint8)
            image[:, :, label * 2 : label * 2 + 2] += 150
            writer.write({"image": image, "label": label})
    report = train(
        tiny(
            task="image_classification",
            model="vit",
            model_options=(
                "hidden_size=16", "num_hidden_layers=1", "num_attention_heads=2",
                "intermediate_size=32", "patch_size=4", "hidden_dropout_prob=0.0",
            ),
            data=str(tmp_path / "pictures"),
            steps=60,
            batch_size=12,
            eval_share=0.2,
            optimizer=OptimizerConfig(lr=0.005),
        )
    )  # fmt: skip
    assert report["held_out"]["accuracy"] > 0.9
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert (config["image_size"], config["num_channels"]) == (8, 1)
    assert len(config["id2label"]) == 3


def test_a_module_of_the_users_own(
    tmp_path: Path, tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ours_for_this_test.py").write_text(
        "from torch import nn\n"
        "class Bigram(nn.Module):\n"
        "    def __init__(self, width, vocab_size=40):\n"
        "        super().__init__()\n"
        "        self.table = nn.Embedding(vocab_size, width)\n"
        "        self.head = nn.Linear(width, vocab_size)\n"
        "    def forward(self, input_ids):\n"
        "        return self.head(self.table(input_ids))\n"
    )
    monkeypatch.chdir(tmp_path)
    report = train(tiny(model="ours_for_this_test:Bigram", model_options=("width=8",), steps=30))
    assert report["last_loss"] < report["first_loss"]
    from safetensors.torch import load_file

    saved = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert saved["table.weight"].shape == (40, 8)


def test_fine_tuning_begins_with_the_weights_of_a_folder(tmp_path: Path, tiny: Make) -> None:
    first = train(tiny(output=tmp_path / "first", steps=30))
    second = train(tiny(output=tmp_path / "second", model=str(tmp_path / "first" / "model")))
    assert second["first_loss"] < first["first_loss"] - 0.5


def test_changed_settings_are_all_honoured(tmp_path: Path, tiny: Make) -> None:
    changes: list[dict[str, Any]] = [
        {"gradient_checkpointing": True},
        {"optimizer": OptimizerConfig(lr=0.01, kernel="foreach")},
        {"optimizer": OptimizerConfig(lr=0.01, kernel="plain")},
    ]
    plain = train(tiny(output=tmp_path / "plain"))
    for number, change in enumerate(changes):
        other = train(tiny(output=tmp_path / str(number), **change))
        assert other["last_loss"] == pytest.approx(plain["last_loss"], abs=1e-5)
    rough = train(tiny(output=tmp_path / "rough", precision="bf16"))
    assert rough["last_loss"] != plain["last_loss"]
    assert rough["last_loss"] == pytest.approx(plain["last_loss"], abs=0.05)
