"""Random numbers of a step: seeded from its number, so that they have no state to save."""

import torch

__all__ = ["seed_step"]

_LARGE_PRIME = 2_147_483_647


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch's generators for one step of one process."""
    torch.manual_seed((seed * 1_000_003 + step) * 8191 % _LARGE_PRIME + rank * 65_537)
