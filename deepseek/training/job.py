"""What every process of a run is told; it travels to them."""

from dataclasses import dataclass

from deepseek.distributed.costs import Costs
from deepseek.training.config import TrainConfig
from deepseek.training.data.prepared import Prepared
from deepseek.training.model import ModelSource
from deepseek.training.run_folder import RunFolder

__all__ = ["Job"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What every process is told.

    Attributes:
        config: The configuration of the run.
        run: The folder of the run.
        source: Where the model comes from.
        data: Where the records lie.
        costs: What the parts of the model cost, where that was measured.
    """

    config: TrainConfig
    run: RunFolder
    source: ModelSource
    data: Prepared
    costs: Costs | None = None
