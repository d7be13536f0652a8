"""The table of tasks: each makes inputs and labels of records."""

from collections.abc import Callable

from deepseek.training.tasks.causal_lm import causal_lm
from deepseek.training.tasks.image_classification import image_classification
from deepseek.training.tasks.masked_lm import masked_lm
from deepseek.training.tasks.sequence_classification import sequence_classification
from deepseek.training.tasks.task import IGNORED, Batch, Task, Vocabulary

__all__ = ["IGNORED", "TASKS", "Batch", "Task", "Vocabulary"]

TASKS: dict[str, Callable[[Vocabulary | None, int], Task]] = {
    "causal_lm": causal_lm,
    "masked_lm": masked_lm,
    "sequence_classification": sequence_classification,
    "image_classification": image_classification,
}
