"""A shuffle that is computed, not stored: where any position goes, in constant memory.

A Feistel network permutes the numbers of so many bits; those that fall outside of the range walk
on along their cycle until they are inside (Black and Rogaway, "Ciphers with arbitrary finite
domains", 2002). It is no cipher: eight rounds of a multiplicative hash mix well enough that no
order shows. With few bits they do not, so a short range is sorted by a hash instead.

The order is part of what a saved position means, so it never changes: a test holds it.
"""

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import InputError

__all__ = ["Permutation"]

_SORTED_UP_TO = 1 << 16  # half a megabyte
_ROUNDS = 8
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15  # splitmix64 (Steele, Lea and Flood, 2014)
_MULTIPLY = np.uint64(0xBF58476D1CE4E5B9)
_AGAIN = np.uint64(0x94D049BB133111EB)
_HALF = np.uint64(32)

Numbers = NDArray[np.uint64]


class Permutation:
    """A permutation of ``range(count)`` that depends only on its arguments.

    Args:
        count: How many numbers; at least 1.
        seed: Which shuffle.
        epoch: Which of the shuffles of that seed.

    Raises:
        InputError: ``count`` is not between 1 and 2**62.
    """

    def __init__(self, count: int, *, seed: int = 0, epoch: int = 0) -> None:
        if not 1 <= count <= 2**62:
            raise InputError(f"expected between 1 and 2**62 numbers to shuffle, got {count}")
        self._count = np.uint64(count)
        self._keys = _keys(seed, epoch)
        self._table = _sorted_by_hash(count, self._keys) if count <= _SORTED_UP_TO else None
        bits = (count - 1).bit_length()
        low = bits - bits // 2
        self._shift = np.uint64(low)
        self._masks = np.uint64(2**low - 1), np.uint64(2 ** (bits // 2) - 1)

    def __len__(self) -> int:
        return int(self._count)

    def __getitem__(self, position: int) -> int:
        if not 0 <= position < len(self):
            raise IndexError(f"expected a position from 0 to {len(self) - 1}, got {position}")
        return int(self.take(np.array([position]))[0])

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where positions go, any number and shape of them; each must be in ``range(count)``."""
        if self._table is not None:
            return self._table[positions]
        numbers = self._mixed(positions.ravel().astype(np.uint64))
        outside = np.flatnonzero(numbers >= self._count)
        while len(outside):
            numbers[outside] = self._mixed(numbers[outside])
            outside = outside[numbers[outside] >= self._count]
        return numbers.astype(np.int64).reshape(positions.shape)

    def _mixed(self, numbers: Numbers) -> Numbers:
        low_mask, high_mask = self._masks
        low, high = numbers & low_mask, numbers >> self._shift
        for one, other in zip(self._keys[::2], self._keys[1::2], strict=True):
            high ^= _hash(low, one) & high_mask
            low ^= _hash(high, other) & low_mask
        return (high << self._shift) | low


def _hash(numbers: Numbers, key: np.uint64) -> Numbers:
    mixed = (numbers ^ key) * _MULTIPLY
    mixed ^= mixed >> _HALF
    mixed *= _AGAIN
    mixed ^= mixed >> _HALF
    return mixed


def _sorted_by_hash(count: int, keys: list[np.uint64]) -> NDArray[np.int64]:
    hashes = _hash(_hash(np.arange(count, dtype=np.uint64), keys[0]), keys[1])
    return np.argsort(hashes, kind="stable").astype(np.int64)


def _keys(seed: int, epoch: int) -> list[np.uint64]:
    """One key a round, from splitmix64 begun at the seed and then at the epoch."""
    state = _splitmix(_splitmix(seed & _MASK) ^ (epoch & _MASK))
    return [np.uint64(_splitmix(state + number * _GOLDEN & _MASK)) for number in range(_ROUNDS)]


def _splitmix(state: int) -> int:
    mixed = state + _GOLDEN & _MASK
    mixed = (mixed ^ mixed >> 30) * int(_MULTIPLY) & _MASK
    mixed = (mixed ^ mixed >> 27) * int(_AGAIN) & _MASK
    return mixed ^ mixed >> 31
