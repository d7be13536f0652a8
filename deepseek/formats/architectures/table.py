"""The families that are recognised, the more particular ones first."""

from deepseek.formats.architectures.albert import ALBERT
from deepseek.formats.architectures.bert import BERT, ROBERTA
from deepseek.formats.architectures.distilbert import DISTILBERT
from deepseek.formats.architectures.family import Family
from deepseek.formats.architectures.gpt2 import GPT2
from deepseek.formats.architectures.llama import LLAMA, MISTRAL, QWEN2, QWEN3
from deepseek.formats.architectures.resnet import RESNET
from deepseek.formats.architectures.t5 import T5
from deepseek.formats.architectures.vit import VIT

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = (
    BERT,
    ROBERTA,
    DISTILBERT,
    ALBERT,
    GPT2,
    QWEN3,
    QWEN2,
    MISTRAL,
    LLAMA,
    VIT,
    RESNET,
    T5,
)
