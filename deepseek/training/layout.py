"""Who sees which part of a batch, and in how many parts they take it."""

from dataclasses import dataclass

from deepseek.distributed.layout import Layout
from deepseek.distributed.schedules import check_micro_batches, micro_batches
from deepseek.errors import InputError
from deepseek.training.config import TrainConfig

__all__ = ["Share", "layout_of", "share_of"]

_ARTICLE_MICRO_BATCH = 256


@dataclass(frozen=True, slots=True)
class Share:
    """What a process takes of a batch.

    Attributes:
        rows: Records of each batch that it sees.
        parts: In how many micro-batches it takes them.
    """

    rows: int
    parts: int


def layout_of(config: TrainConfig, world: int) -> Layout:
    """The layout of ``world`` processes.

    Raises:
        InputError: They cannot be laid out as asked.
    """
    return Layout.of(world, config.shard_strategy, config.pipeline_stages)


def share_of(config: TrainConfig, layout: Layout) -> Share:
    """What each process takes of a batch, so that together they take exactly the batch.

    Micro-batches are as many as asked for, or batch_size/256 but at least one; with a pipeline
    max(stages, ceil(batch/256)).

    Raises:
        InputError: The batch does not divide over the processes or the micro-batches.
    """
    rows, rest = divmod(config.batch_size, layout.data_size)
    if rest or rows == 0:
        nearest = -(-config.batch_size // layout.data_size) * layout.data_size
        raise InputError(
            f"expected a batch that divides over the {layout.data_size} processes that see "
            f"different data, got {config.batch_size} records",
            hint=f"--batch_size {nearest}",
        )
    if layout.stages > 1:
        form = rows, layout.stages, config.pipeline_schedule
        asked = config.accumulate
        parts = micro_batches(*form) if asked is None else check_micro_batches(asked, *form)
        return Share(rows, parts)
    parts = config.accumulate or max(1, config.batch_size // _ARTICLE_MICRO_BATCH)
    if parts > rows:
        raise InputError(
            f"expected at least one record for each of {parts} micro-batches, got {rows} records "
            f"of a batch of {config.batch_size}",
            hint=f"--accumulate {rows}, or a larger --batch_size",
        )
    return Share(rows, parts)
