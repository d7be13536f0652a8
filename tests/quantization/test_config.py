"""What the configuration takes and refuses."""

from pathlib import Path

import pytest

from deepseek.errors import InputError
from deepseek.quantization.config import QuantizeConfig, QuantizeFilesConfig

FILES = {"model": Path("m"), "calib_data": Path("d"), "output": Path("o")}


def test_the_budget_is_half_a_per_cent():
    assert QuantizeConfig().max_drop == QuantizeFilesConfig(**FILES).max_drop == 0.005
    assert QuantizeConfig().method == "dynamic_range"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, "expected --seed of 0 or more, got -1"),
        ({"samples": 0}, "expected --samples of 1 or more, got 0"),
        ({"batch_size": -4}, "expected --batch_size of 1 or more, got -4"),
        ({"max_length": 0}, "expected --max_length of 1 or more, got 0"),
        ({"held_out": 0.0}, "expected --held_out between 0% and 100%, got 0%"),
        ({"held_out": 1.0}, "expected --held_out between 0% and 100%, got 100%"),
    ],
)
def test_values_out_of_range(values, message):
    with pytest.raises(InputError) as caught:
        QuantizeFilesConfig(**FILES, **values)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bits": 4}, "expected --bits with --method weight_only, got it with dynamic_range"),
        ({"group_size": 32, "method": "static"},
         "expected --group_size with --method weight_only, got it with static"),
        ({"rounding": "gptq"},
         "expected --rounding with --method weight_only, got it with dynamic_range"),
        ({"observer": "mse", "method": "weight_only"},
         "expected --observer with --method static or smooth, got it with weight_only"),
        ({"activations": "static"},
         "expected --activations with --method smooth, got it with dynamic_range"),
        ({"smoothing": 0.7, "method": "static"},
         "expected --smoothing with --method smooth, got it with static"),
    ],
)  # fmt: skip
def test_options_that_the_method_has_no_use_for(values, message):
    with pytest.raises(InputError) as caught:
        QuantizeConfig(**values)
    assert caught.value.message == message


def test_auto_uses_every_option():
    options = {"bits": 4, "group_size": 32, "rounding": "awq", "observer": "mse", "smoothing": 0.7}
    assert QuantizeConfig(method="auto", **options).bits == 4
