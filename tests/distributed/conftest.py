"""Groups of real processes, started once: tests look at what each job of a group brought home.

What the processes run is in ``ranks.py``, which they import by its name.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def pair() -> dict[str, object]:
    """What the jobs for two processes returned on rank 0, by name."""
    return _run("PAIR", 2)


@pytest.fixture(scope="session")
def four() -> dict[str, object]:
    """The same for four processes."""
    return _run("FOUR", 4)


def _run(jobs: str, nproc: int) -> dict[str, object]:
    import ranks

    from deepseek.distributed import launch

    return launch(ranks.run_jobs, getattr(ranks, jobs), nproc=nproc)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Models here are too small for two threads, which only wait for each other."""
    import torch

    torch.set_num_threads(1)
