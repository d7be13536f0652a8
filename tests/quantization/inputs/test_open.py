"""Images in class folders, arrays and random inputs, from files to a written folder."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from deepseek.errors import InputError
from deepseek.quantization.config import QuantizeFilesConfig
from deepseek.quantization.quantize_files import quantize_files


@pytest.fixture
def vision(tiny, tmp_path):
    model = tiny("ViTForImageClassification")
    model.save_pretrained(tmp_path / "model")
    return model


@pytest.fixture
def config(tmp_path):
    return QuantizeFilesConfig(
        model=tmp_path / "model", calib_data=tmp_path / "data", output=tmp_path / "int8",
        max_drop=0.5,
    )  # fmt: skip


def save_images(folder, count=30):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog", "owl"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(256, size=(20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_images_in_class_folders(vision, config):
    save_images(config.calib_data)
    report = quantize_files(config)
    assert report.quality.metric == "accuracy"
    assert report.source.held_out == report.quality.n == 45
    assert report.source.calibration == 45
    assert any("order of their names" in note for note in report.notes)
    assert all(record.record.endswith(".png") for record in report.worst)


def test_images_in_named_parts(vision, config):
    save_images(config.calib_data / "train", 10)
    save_images(config.calib_data / "test", 20)
    report = quantize_files(config)
    assert (report.source.calibration, report.source.held_out) == (30, 60)


def test_an_unknown_class_folder(vision, config):
    save_images(config.calib_data, 4)
    (config.calib_data / "owl").rename(config.calib_data / "yak")
    (config.calib_data / "zoo").mkdir()
    Image.new("RGB", (20, 20)).save(config.calib_data / "zoo" / "0.png")
    with pytest.raises(InputError, match="expected a class from 0 to 2 or its name"):
        quantize_files(config)
    assert not config.output.exists()


def test_images_for_a_model_of_texts(tiny, tmp_path, config, tokenizer):
    tiny("BertModel").save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    save_images(config.calib_data, 2)
    with pytest.raises(InputError, match="expected a model that takes images, found BertModel"):
        quantize_files(config)


def save_arrays(folder, model, count=80, **changes):
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((count, 3, 16, 16)).astype(np.float32)
    with torch.inference_mode():
        labels = model(torch.from_numpy(pixels)).logits.argmax(1).numpy()
    np.savez(folder / "all.npz", **{"pixel_values": pixels, "labels": labels, **changes})


def test_arrays_named_like_inputs(vision, config):
    save_arrays(config.calib_data, vision)
    report = quantize_files(config)
    assert report.quality.metric == "accuracy"
    assert report.quality.before == 1.0
    assert report.quality.n == 40


def test_one_array_is_the_main_input(vision, config):
    config.calib_data.mkdir()
    np.save(config.calib_data / "x.npy", np.ones((40, 3, 16, 16), np.float32))
    assert quantize_files(config).quality.metric == "agreement"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.full(80, 3)}, "expected a class from 0 to 2 in 'labels', found 3"),
        ({"labels": np.zeros(79)}, "as many records each"),
        ({"pixel_values": np.ones((80, 5, 16, 16), np.float32)}, "expected a model that runs on"),
    ],
)
def test_arrays_that_do_not_fit(vision, config, changes, message):
    save_arrays(config.calib_data, vision, **changes)
    with pytest.raises(InputError, match=message) as caught:
        quantize_files(config)
    assert "\n" not in caught.value.message
    assert not config.output.exists()


def test_arrays_of_other_names(vision, config):
    config.calib_data.mkdir()
    np.savez(config.calib_data / "a.npz", left=np.ones((9, 2)), right=np.ones((9, 2)))
    with pytest.raises(InputError, match=r"named like the inputs of ViTFor.*found left, right"):
        quantize_files(config)


@pytest.mark.parametrize("name", ["ViTForImageClassification", "LlamaForCausalLM"])
def test_random_inputs_are_stamped(tiny, tmp_path, config, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny(name).save_pretrained(tmp_path / "model")
    from pathlib import Path

    report = quantize_files(replace(config, calib_data=Path("random"), samples=60))
    assert report.source.calib_data == "random"
    assert report.quality.n == 60
    assert any("random inputs" in note for note in report.notes)
    with safe_open(config.output / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "calib_data": "random"}
    assert "random data" in (config.output / "report.html").read_text()


def test_no_data_is_refused(vision, config):
    with pytest.raises(InputError, match="expected a data file or folder, found nothing"):
        quantize_files(config)
