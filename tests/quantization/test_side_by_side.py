"""Two reports become one table of pairs."""

import json

import pytest

from deepseek.errors import InputError
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.quantize import quantize
from deepseek.quantization.side_by_side import lay_side_by_side
from deepseek.quantization.write import write_folder


@pytest.fixture
def folders(tmp_path, tiny, inputs):
    model = tiny("BertModel")
    given = [inputs(model, seed=seed) for seed in range(4)]
    for name, count in (("a", 4), ("b", 2)):
        quantized, report = quantize(model, given[:count], QuantizeConfig(max_drop=0.01))
        write_folder(tmp_path / name, quantized, report)
    return tmp_path / "a", tmp_path / "b"


def test_figures_are_those_of_the_reports(folders):
    laid = lay_side_by_side(folders[0], folders[1] / "report.json")
    documents = [json.loads((folder / "report.json").read_text()) for folder in folders]
    figures = laid["figures"]
    assert figures["drop"] == [document["quality"]["drop"] for document in documents]
    assert figures["size_after"] == [document["size_bytes"]["after"] for document in documents]
    assert figures["n"] == [12, 6]
    assert laid["notes"] == [
        "measured with different numbers of records: the drops are not comparable"
    ]
    assert laid["only_in_int8"] == [[], []]
    assert json.loads(json.dumps(laid)) == laid


def test_layers_of_one_alone_are_named(folders):
    file = folders[1] / "report.json"
    document = json.loads(file.read_text())
    gone = document["layers"].pop()
    file.write_text(json.dumps(document))
    assert lay_side_by_side(*folders)["only_in_int8"] == [[gone["name"]], []]


def test_random_data_is_told(folders):
    file = folders[0] / "report.json"
    document = json.loads(file.read_text())
    document["source"] = {"model": "m", "calib_data": "random"}
    file.write_text(json.dumps(document))
    assert f"{folders[0]} was calibrated on random data" in lay_side_by_side(*folders)["notes"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "expected a report at .*nothing"),
        ("{", "expected a report of deepseek quantize, found Expecting"),
        ("[]", "expected a report of deepseek quantize"),
        ('{"schema": "deepseek.convert/1"}', "expected a report of deepseek quantize"),
        ('{"schema": "deepseek.quantize/1"}', "old version"),
    ],
)
def test_what_is_no_report(folders, tmp_path, text, message):
    other = tmp_path / "nothing.json"
    if text is not None:
        other.write_text(text)
    with pytest.raises(InputError, match=message):
        lay_side_by_side(folders[0], other)
