"""ResNet, under the names of transformers and under those of torchvision and timm."""

import re

from deepseek.formats.architectures.family import Draft, Family, Head
from deepseek.formats.architectures.shapes import Differs, Shapes

__all__ = ["RESNET"]

_STEM = "embedder.embedder.convolution.weight"
_STAGE = "encoder.stages."
_TORCHVISION = (
    (re.compile(r"^conv1\."), "resnet.embedder.embedder.convolution."),
    (re.compile(r"^bn1\."), "resnet.embedder.embedder.normalization."),
    (re.compile(r"^fc\."), "classifier.1."),
)
_BLOCK = re.compile(r"^layer([1-4])\.(\d+)\.(conv|bn|downsample\.)(\d)\.")
_MEMBERS = {"conv": "convolution", "bn": "normalization"}


def _of_transformers(name: str) -> str:
    for pattern, replacement in _TORCHVISION:
        if pattern.match(name):
            return pattern.sub(replacement, name)
    match = _BLOCK.match(name)
    if match is None:
        return name
    stage, block, member, number = match.groups()
    place = f"resnet.{_STAGE}{int(stage) - 1}.layers.{block}."
    if member in _MEMBERS:
        place += f"layer.{int(number) - 1}.{_MEMBERS[member]}."
    else:
        place += f"shortcut.{('convolution', 'normalization')[number == '1']}."
    return place + name[match.end() :]


def _draft(shapes: Shapes) -> Draft:
    width, channels, height, _ = shapes.of(_STEM, 4)
    if height != 7:
        raise Differs(f"a first convolution of {height} x {height}, not 7 x 7")
    stages = range(shapes.count(_STAGE))
    deep = f"{_STAGE}0.layers.0.layer.2.convolution.weight" in shapes
    last = 2 if deep else 1
    widths = [shapes.of(_convolution(stage, last), 4)[0] for stage in stages]
    for stage, size in zip(stages, widths, strict=True):
        inner, per_group, _, _ = shapes.of(_convolution(stage, 1 if deep else 0), 4)
        if deep and (inner != size // 4 or per_group != inner):
            raise Differs(f"stage {stage} is wider or grouped inside, as ResNeXt and Wide ResNet")
    return Draft(
        config={
            "num_channels": channels,
            "embedding_size": width,
            "hidden_sizes": widths,
            "depths": [shapes.count(f"{_STAGE}{stage}.layers.") for stage in stages],
            "layer_type": "bottleneck" if deep else "basic",
            "downsample_in_first_stage": False,
        },
        notes=["assumed a stride of 2 in every stage but the first, as published ResNets have"],
    )


def _convolution(stage: int, index: int) -> str:
    return f"{_STAGE}{stage}.layers.0.layer.{index}.convolution.weight"


RESNET = Family(
    title="ResNet",
    model_type="resnet",
    base="resnet",
    parts=("embedder", "encoder"),
    landmarks=(
        _STEM,
        "embedder.embedder.normalization.running_mean",
        f"{_STAGE}0.layers.0.layer.0.convolution.weight",
        f"{_STAGE}0.layers.0.layer.1.convolution.weight",
        f"{_STAGE}1.layers.0.shortcut.convolution.weight",
    ),
    draft=_draft,
    canonical=_of_transformers,
    renames=True,
    heads=(
        Head(
            architecture="ResNetForImageClassification",
            needs=("classifier.1.weight",),
            labels="classifier.1.weight",
        ),
        Head(architecture="ResNetModel"),
    ),
)
