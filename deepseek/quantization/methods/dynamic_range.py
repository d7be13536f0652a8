"""INT8 weights with a scale per channel; activations rounded per token when the model runs.

Each token is spread over all of INT8 by a scale and a zero point of its own. Without the zero
point half of the range is wasted on what follows a GELU: on the sentences of MiniLM the error of
embeddings more than doubles.

Nothing is learnt from data: the calibration batches only show which layers see tokens in rows of
a batch and which see something else, because the written folder must say it.
"""

from torch import nn

from deepseek.progress import Progress
from deepseek.quantization.apply import plan_layers, quantized_copy
from deepseek.quantization.batches import Batches
from deepseek.quantization.config import QuantizeConfig
from deepseek.quantization.inspection import input_ranks
from deepseek.quantization.methods.method import Quantized, described

__all__ = ["dynamic_range"]


def dynamic_range(
    model: nn.Module, calibration: Batches, config: QuantizeConfig, progress: Progress
) -> Quantized:
    """Quantize every linear layer that can be; see ``Method``."""
    del config  # there is nothing to set
    plan = plan_layers(model)
    ranks = input_ranks(model, plan.quantized, next(iter(calibration)))
    result = quantized_copy(model, plan.quantized, progress)
    layers = described(model, plan.quantized, ranks)
    return Quantized(result, layers, plan.left_alone)
