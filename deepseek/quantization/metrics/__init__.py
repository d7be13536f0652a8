"""What is compared between the original and the quantized model, record by record."""

from deepseek.quantization.metrics.choose import METRIC_NAMES, choose_metric
from deepseek.quantization.metrics.metric import Metric, Scores
from deepseek.quantization.metrics.outputs import output_tensor

__all__ = ["METRIC_NAMES", "Metric", "Scores", "choose_metric", "output_tensor"]
