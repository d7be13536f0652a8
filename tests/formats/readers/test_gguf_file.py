import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers

from deepseek.errors import InputError
from deepseek.formats.model import load_model
from deepseek.formats.readers.files import read_file

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_SIZES = {
    "vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32768,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
_FAMILIES: dict[str, tuple[Any, dict[str, Any]]] = {
    "llama": (transformers.LlamaForCausalLM, {"rope_theta": 5e5, "rms_norm_eps": 1e-5}),
    "llama tied": (transformers.LlamaForCausalLM, {"tie_word_embeddings": True}),
    "qwen2": (transformers.Qwen2ForCausalLM, {"rope_theta": 1e6}),
    "qwen3": (transformers.Qwen3ForCausalLM, {"head_dim": 32}),
}
_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
}  # fmt: skip


def _model(family: str, **more: Any) -> Any:
    kind, settings = _FAMILIES[family]
    torch.manual_seed(3)
    return kind(kind.config_class(**_SIZES, **settings, **more)).eval()


def _gguf_name(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    if stem.startswith("model.layers."):
        _, _, number, rest = stem.split(".", 3)
        return f"blk.{number}.{_NAMES[rest]}.{ending}"
    return f"{_NAMES[stem]}.{ending}"


def _paired(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows with both halves of each rotated pair side by side, as GGUF has Llama's."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def _write(path: Path, model: Any, *, kind: str | None = None, factors: Any = None) -> Path:
    """The model as a GGUF file; matrices of type ``kind`` where it is given."""
    config = model.config
    family = config.model_type
    writer = gguf.GGUFWriter(path, family)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim if family == "qwen3" else 16)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_token_list([f"t{number}" for number in range(config.vocab_size)])
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", np.asarray(factors, dtype=np.float32))
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if family == "llama" and ".q_proj." in name:
            values = _paired(values, config.num_attention_heads)
        if family == "llama" and ".k_proj." in name:
            values = _paired(values, config.num_key_value_heads)
        if kind and values.ndim == 2:
            number = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(_gguf_name(name), gguf.quantize(values, number), raw_dtype=number)
        else:
            writer.add_tensor(_gguf_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits = model(torch.arange(3, 40)[None]).logits
    assert isinstance(logits, torch.Tensor)
    return logits


@pytest.mark.parametrize("family", _FAMILIES)
def test_a_model_of_the_llama_family_computes_the_same(tmp_path: Path, family: str) -> None:
    model = _model(family)
    loaded = load_model(_write(tmp_path / "m.gguf", model))
    assert loaded.architecture == type(model).__name__
    assert loaded.checkpoint.format == "gguf"
    assert torch.equal(_logits(loaded.model), _logits(model))


def test_the_scaling_of_llama_3_is_told_by_its_factors(tmp_path: Path) -> None:
    model = _model("llama", rope_parameters=_LLAMA3)
    plain = 1 / (5e5 ** (torch.arange(0, 16, 2) / 16))
    factors = plain / model.model.rotary_emb.inv_freq
    path = _write(tmp_path / "m.gguf", model, factors=factors)
    loaded = load_model(path)
    assert loaded.config.rope_parameters == _LLAMA3
    assert torch.equal(_logits(loaded.model), _logits(model))
    checkpoint = read_file(_write(tmp_path / "odd.gguf", model, factors=factors * 1.1))
    assert checkpoint.config is None
    assert "blk.0.attn_q.weight" in checkpoint.infos


@pytest.mark.parametrize(("kind", "error"), [("Q8_0", 0.02), ("Q4_0", 0.2), ("BF16", 0.01)])
def test_quantized_tensors_are_dequantized(tmp_path: Path, kind: str, error: float) -> None:
    model = _model("llama")
    checkpoint = read_file(_write(tmp_path / "m.gguf", model, kind=kind))
    state = model.state_dict()
    assert set(checkpoint.infos) == set(state)
    for name, value in state.items():
        found = checkpoint.read(name)
        assert found.dtype == checkpoint.infos[name].dtype
        assert (found.float() - value).abs().max() <= error * value.abs().max()
    quantized = kind != "BF16"
    assert any("dequantized to float32" in note for note in checkpoint.notes) == quantized


def test_other_architectures_keep_their_names(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "bert")
    writer.add_tensor("token_embd.weight", np.ones((4, 32), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    checkpoint = read_file(tmp_path / "m.gguf")
    assert checkpoint.config is None
    assert torch.equal(checkpoint.read("token_embd.weight"), torch.ones(4, 32).half())
    assert checkpoint.notes == (
        "GGUF architecture bert: names are kept as they are, no configuration",
    )


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def _file(*, version: int = 3, tensors: int = 1, keys: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest


def _tensor(*, axes: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    sizes = struct.pack(f"<{len(axes)}Q", *axes)
    place = struct.pack("<IQ", kind, offset)
    return _text("w") + struct.pack("<I", len(axes)) + sizes + place


def _array(inner: int, count: int) -> bytes:
    return _text("k") + struct.pack("<IIQ", 9, inner, count)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GGUF", "damaged or cut off"),
        (_file(version=1), "expected GGUF version 2 or 3, found 1"),
        (_file(version=0x03000000), "expected GGUF version 2 or 3"),
        (_file(tensors=2**60), "promises 1152921504606846976 tensors"),
        (_file(keys=2**60), "promises 1152921504606846976 keys"),
        (_file(keys=1, rest=struct.pack("<Q", 2**60) + bytes(32)), "bytes, the file has"),
        (_file(keys=1, rest=_array(0, 2**60) + bytes(32)), "promises 1152921504606846976 values"),
        (_file(keys=1, rest=_array(8, 2**50) + bytes(32)), "promises"),
        (_file(keys=1, rest=_array(9, 2) + _array(9, 9) * 9), "unknown type|promises"),
        (_file(keys=1, rest=_text("k") + struct.pack("<I", 77) + bytes(8)), "unknown type 77"),
        (_file(keys=1, rest=struct.pack("<Q", 2) + b"\xff\xfe" + bytes(16)), "not UTF-8"),
        (_file(rest=_tensor(axes=(2,) * 9) + bytes(64)), "has 9 axes"),
        (_file(rest=_tensor(axes=(2**40, 2**20)) + bytes(64)), "cannot be in this file"),
        (_file(rest=_tensor(kind=999) + bytes(64)), "unknown GGUF type 999"),
        (_file(rest=_tensor(axes=(5,), kind=8) + bytes(64)), "no multiple of Q8_0's block"),
        (_file(rest=_tensor(offset=2**40) + bytes(64)), "beyond the end of the file"),
        (_file(rest=_tensor()), "beyond the end of the file"),
    ],
)
def test_headers_that_promise_what_is_not_there(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_file(tmp_path / "bad.gguf")


def test_without_the_gguf_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.gguf").write_bytes(_file(rest=_tensor() + bytes(64)))
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(InputError, match="reading GGUF needs the gguf package") as caught:
        read_file(tmp_path / "m.gguf")
    assert caught.value.hint == "pip install 'deepseek-toolkit[gguf]'"
