"""Models of images."""

from __future__ import annotations

import torch

from tests.compiler.architectures.case import Case, pixels

__all__ = ["VISION"]

_SMALL = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
}  # fmt: skip
_PATCHES = {**_SMALL, "image_size": 32, "patch_size": 8}
_STAGES = {"embed_dim": 32, "depths": [1, 1], "num_heads": [2, 4], "image_size": 32,
           "patch_size": 4, "window_size": 4}  # fmt: skip

VISION = {
    "beit": Case("beit", _PATCHES, pixels()),
    "bit": Case("bit", {"embedding_size": 32, "hidden_sizes": [32, 64], "depths": [1, 1],
                        "num_groups": 8}, pixels()),
    "clip, images": Case("clip_vision_model", _PATCHES, pixels()),
    "convnext": Case("convnext", {"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2},
                     pixels()),
    "convnext v2": Case("convnextv2", {"hidden_sizes": [16, 32], "depths": [1, 1],
                                       "num_stages": 2}, pixels()),
    "data2vec vision": Case("data2vec-vision", _PATCHES, pixels()),
    "deit": Case("deit", _PATCHES, pixels(), quick=True),
    "dinov2": Case("dinov2", _PATCHES, pixels()),
    "dinov2 with registers": Case("dinov2_with_registers", _PATCHES, pixels()),
    "dinov3": Case("dinov3_vit", _PATCHES, pixels()),
    "focalnet": Case("focalnet", {"embed_dim": 16, "depths": [1, 1], "hidden_sizes": [16, 32],
                                  "focal_levels": [1, 1], "focal_windows": [3, 3],
                                  "image_size": 32}, pixels()),
    "glpn": Case("glpn", {"hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1],
                          "num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 16},
                 pixels()),
    "hiera": Case("hiera", {"embed_dim": 16, "image_size": [64, 64], "depths": [1, 1, 1, 1],
                            "num_heads": [1, 2, 4, 8]}, pixels(64)),
    "ijepa": Case("ijepa", _PATCHES, pixels()),
    "levit": Case("levit", {"hidden_sizes": [32, 48, 64], "num_attention_heads": [2, 3, 4],
                            "depths": [1, 1, 1], "key_dim": [8, 8, 8], "image_size": 64},
                  pixels(64)),
    "mobilenet v1": Case("mobilenet_v1", {"depth_multiplier": 0.25}, pixels()),
    "mobilenet v2": Case("mobilenet_v2", {"depth_multiplier": 0.25}, pixels()),
    "mobilevit": Case("mobilevit", {"hidden_sizes": [16, 16, 16], "image_size": 32,
                                    "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 32]}, pixels()),
    "poolformer": Case("poolformer", {"hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1]},
                       pixels()),
    "pvt": Case("pvt", {"hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1],
                        "num_attention_heads": [1, 1, 2, 2], "image_size": 32}, pixels()),
    "pvt v2": Case("pvt_v2", {"hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1],
                              "num_attention_heads": [1, 1, 2, 2], "image_size": 32}, pixels()),
    "regnet": Case("regnet", {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1],
                              "groups_width": 8}, pixels()),
    "resnet": Case("resnet", {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1]},
                   pixels(), quick=True),
    "segformer": Case("segformer", {"hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1]},
                      pixels()),
    "siglip, images": Case("siglip_vision_model", _PATCHES, pixels()),
    "swin": Case("swin", _STAGES, pixels()),
    "swin v2": Case("swinv2", _STAGES, pixels()),
    "videomae": Case("videomae", {**_PATCHES, "num_frames": 4},
                     lambda b, n: {"pixel_values": torch.randn(b, 4, 3, 32, 32)}),
    "vit": Case("vit", _PATCHES, pixels()),
    "vit, attention written out": Case("vit", {**_PATCHES, "attn_implementation": "eager"},
                                       pixels()),
    "vit msn": Case("vit_msn", _PATCHES, pixels()),
    "yolos": Case("yolos", {**_PATCHES, "image_size": [32, 32], "num_detection_tokens": 4},
                  pixels()),
}  # fmt: skip
