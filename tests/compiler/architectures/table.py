"""All architectures of the sweep, by name."""

from __future__ import annotations

from tests.compiler.architectures.decoders import DECODERS
from tests.compiler.architectures.encoders import ENCODERS
from tests.compiler.architectures.pairs import PAIRS
from tests.compiler.architectures.several import TOGETHER
from tests.compiler.architectures.sound import SOUND
from tests.compiler.architectures.vision import VISION

__all__ = ["ARCHITECTURES"]

ARCHITECTURES = {**ENCODERS, **DECODERS, **PAIRS, **VISION, **SOUND, **TOGETHER}
