"""ViT, under the names of transformers 5 and under those that its checkpoints on disk have."""

import math
import re

from deepseek.formats.architectures.family import Draft, Family, Head, heads_of_width
from deepseek.formats.architectures.shapes import Differs, Shapes

__all__ = ["VIT"]

_LAYER = re.compile(r"encoder\.layer\.(\d+)\.")
_IN_LAYER = {
    "attention.attention.query.": "attention.q_proj.",
    "attention.attention.key.": "attention.k_proj.",
    "attention.attention.value.": "attention.v_proj.",
    "attention.output.dense.": "attention.o_proj.",
    "intermediate.dense.": "mlp.fc1.",
    "output.dense.": "mlp.fc2.",
}


def _modern(name: str) -> str:
    if not _LAYER.search(name):
        return name
    name = _LAYER.sub(r"layers.\1.", name)
    for old, new in _IN_LAYER.items():
        if old in name:
            return name.replace(old, new)
    return name


def _draft(shapes: Shapes) -> Draft:
    if "embeddings.distillation_token" in shapes:
        raise Differs("a distillation token, as DeiT has")
    hidden, channels, height, width = shapes.of("embeddings.patch_embeddings.projection.weight", 4)
    if height != width:
        raise Differs(f"patches of {height} x {width}")
    patches = shapes.of("embeddings.position_embeddings", 3)[1] - 1
    side = math.isqrt(patches)
    if side * side != patches:
        raise Differs(f"{patches} patches, which make no square picture")
    heads, note = heads_of_width(hidden, "ViT")
    return Draft(
        config={
            "hidden_size": hidden,
            "num_channels": channels,
            "patch_size": height,
            "image_size": side * height,
            "num_hidden_layers": shapes.count("layers."),
            "num_attention_heads": heads,
            "intermediate_size": shapes.rows("layers.0.mlp.fc1.weight"),
            "qkv_bias": "layers.0.attention.q_proj.bias" in shapes,
        },
        notes=[note],
    )


VIT = Family(
    title="ViT",
    model_type="vit",
    base="vit",
    parts=("embeddings", "layers", "layernorm", "pooler"),
    landmarks=(
        "embeddings.cls_token",
        "embeddings.position_embeddings",
        "embeddings.patch_embeddings.projection.weight",
        "layers.0.attention.q_proj.weight",
        "layers.0.attention.o_proj.weight",
        "layers.0.layernorm_before.weight",
        "layers.0.mlp.fc1.weight",
        "layernorm.weight",
    ),
    draft=_draft,
    canonical=_modern,
    heads=(
        Head(
            architecture="ViTForImageClassification",
            needs=("classifier.weight",),
            labels="classifier.weight",
            spare=("vit.pooler.",),
        ),
        Head(
            architecture="ViTModel",
            optional=("vit.pooler.dense.weight", "add_pooling_layer"),
        ),
    ),
)
