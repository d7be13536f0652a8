"""What the two commands refuse to be told."""

from pathlib import Path
from typing import Any

import pytest

from deepseek.data.config import InspectConfig, PackConfig
from deepseek.errors import InputError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pack_length": 1}, "expected --pack_length of at least 2, got 1"),
        ({"max_length": 0}, "expected --max_length of at least 1, got 0"),
        ({"image_size": 0}, "expected --image_size of at least 1"),
        ({"shard_size": 0}, "expected --shard_size of at least 1"),
        ({"workers": -1}, "expected --workers of at least 0, got -1"),
        ({"source": ()}, "expected a SOURCE to pack, got none"),
        ({"pack_length": 8, "classes": ("a",)}, "expected texts alone with --pack_length"),
        ({"pack_length": 8, "label_column": "y"}, "expected texts alone with --pack_length"),
        ({"classes": ("a", "a")}, "expected different --classes, got a, a"),
    ],
)
def test_wrong_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        PackConfig(**({"source": ("x",), "output": Path("out")} | options))
    assert message in caught.value.message


def test_a_negative_number_of_records() -> None:
    with pytest.raises(InputError, match="expected --records of at least 0"):
        InspectConfig(path=Path("x"), records=-1)
