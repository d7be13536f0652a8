from collections.abc import Callable
from typing import Any

import pytest
import torch

from deepseek.errors import InputError
from deepseek.formats.exporting.signature import Sizes, signature_of

Models = Callable[[str], Any]


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("bert", ["input_ids", "attention_mask", "token_type_ids"]),
        ("gpt2", ["input_ids", "attention_mask"]),
        ("llama", ["input_ids", "attention_mask"]),
        ("t5", ["input_ids", "attention_mask", "decoder_input_ids"]),
        ("vit", ["pixel_values"]),
        ("resnet", ["pixel_values"]),
    ],
)
def test_every_family_is_called_with_its_inputs(name: str, inputs: list[str], tiny: Models) -> None:
    signature = signature_of(tiny(name), name)
    assert list(signature.axes) == inputs
    for sizes in (signature.example, *signature.trials):
        made = signature.make(sizes)
        assert list(made) == inputs
        assert all(tensor.shape[0] == sizes.batch for tensor in made.values())
        again = signature.make(sizes)
        assert all(torch.equal(made[key], again[key]) for key in inputs)


def test_trials_have_batch_one_odd_lengths_and_both_paddings(tiny: Models) -> None:
    trials = signature_of(tiny("bert"), "bert").trials
    assert any(sizes.batch == 1 for sizes in trials)
    assert any(sizes.length % 2 and sizes.length > 1 for sizes in trials)
    assert {sizes.padding for sizes in trials} == {"", "left", "right"}


def test_free_axes_of_pictures(tiny: Models) -> None:
    """A vision transformer has one size; a convolutional network takes any."""
    assert signature_of(tiny("vit"), "vit").axes["pixel_values"] == {0: "batch"}
    free = {0: "batch", 2: "height", 3: "width"}
    assert signature_of(tiny("resnet"), "resnet").axes["pixel_values"] == free


def test_padding_hides_half_of_every_second_sample(tiny: Models) -> None:
    make = signature_of(tiny("gpt2"), "gpt2").make
    right = make(Sizes(batch=2, length=5, padding="right"))
    assert right["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert right["input_ids"][1, 3:].tolist() == [0, 0]
    left = make(Sizes(batch=2, length=5, padding="left"))
    assert left["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]


def test_tokens_stay_in_the_vocabulary_and_are_no_padding(tiny: Models) -> None:
    tokens = signature_of(tiny("gpt2"), "gpt2").make(Sizes(batch=50, length=60))["input_ids"]
    assert tokens.min() == 1
    assert tokens.max() == 119


def test_trials_stay_within_the_positions_of_a_model(tiny: Models) -> None:
    trials = signature_of(tiny("gpt2"), "gpt2").trials
    assert max(sizes.length for sizes in trials) == 60


def test_other_inputs_are_refused_by_name() -> None:
    class Listener(torch.nn.Module):
        main_input_name = "input_values"

    with pytest.raises(InputError) as caught:
        signature_of(Listener(), "WhisperModel")
    assert caught.value.message == (
        "WhisperModel cannot be written as a program: it takes input_values, "
        "expected input_ids or pixel_values"
    )
