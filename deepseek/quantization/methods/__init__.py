"""The methods by name. A new one is a file beside these, a line here and a word in the config."""

from collections.abc import Mapping

from deepseek.quantization.methods.dynamic_range import dynamic_range
from deepseek.quantization.methods.embeddings import embedding_too
from deepseek.quantization.methods.method import Method
from deepseek.quantization.methods.smooth import smooth
from deepseek.quantization.methods.static import static
from deepseek.quantization.methods.weight_only import weight_only

__all__ = ["METHODS"]

METHODS: Mapping[str, Method] = {
    "dynamic_range": embedding_too(dynamic_range),
    "static": embedding_too(static),
    "smooth": embedding_too(smooth),
    "weight_only": embedding_too(weight_only),
}
