"""Models of sound."""

from __future__ import annotations

import torch

from tests.compiler.architectures.case import VOCABULARY, Case, Inputs, features, sound

__all__ = ["SOUND"]

_SMALL = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
}  # fmt: skip
_WAVES = {
    **_SMALL, "conv_dim": [16, 16], "conv_stride": [5, 4], "conv_kernel": [10, 4],
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
    "num_feat_extract_layers": 2,
}  # fmt: skip
_SPEECH = {
    "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96,
    "vocab_size": VOCABULARY, "use_cache": False, "pad_token_id": 1, "bos_token_id": 2,
    "eos_token_id": 3, "decoder_start_token_id": 4, "suppress_tokens": None,
    "begin_suppress_tokens": None,
}  # fmt: skip


def _heard(batch: int, length: int) -> Inputs:
    return {
        "input_features": torch.randn(batch, 16, 64),
        "decoder_input_ids": torch.randint(5, VOCABULARY, (batch, length)),
    }


def _frames(batch: int, length: int) -> Inputs:
    return {
        "input_features": torch.randn(batch, 4 * length, 16),
        "decoder_input_ids": torch.randint(5, VOCABULARY, (batch, length)),
    }


SOUND = {
    "audio spectrogram": Case(
        "audio-spectrogram-transformer",
        {**_SMALL, "num_mel_bins": 16, "max_length": 48, "patch_size": 8, "frequency_stride": 8,
         "time_stride": 8},
        lambda b, n: {"input_values": torch.randn(b, 48, 16)},
    ),
    "data2vec audio": Case("data2vec-audio", _WAVES, sound),
    "hubert": Case("hubert", _WAVES, sound),
    "sew": Case("sew", {**_WAVES, "squeeze_factor": 2}, sound),
    "speech to text": Case(
        "speech_to_text", {**_SPEECH, "input_feat_per_channel": 16, "input_channels": 1,
                           "conv_channels": 32}, _frames
    ),
    "unispeech": Case("unispeech", _WAVES, sound),
    "wav2vec 2": Case("wav2vec2", _WAVES, sound, quick=True),
    "wav2vec 2 bert": Case("wav2vec2-bert", {**_SMALL, "feature_projection_input_dim": 16},
                           features("input_features", 16)),
    "wav2vec 2 conformer": Case("wav2vec2-conformer", _WAVES, sound),
    "wavlm": Case("wavlm", _WAVES, sound),
    "whisper": Case("whisper", {**_SPEECH, "num_mel_bins": 16, "max_source_positions": 32}, _heard),
}  # fmt: skip
