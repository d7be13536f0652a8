"""Programs of which any nodes are quantized, written when they are asked for."""

from collections.abc import Collection, Sequence
from pathlib import Path

from torch import nn

from deepseek.formats.quiet import quiet
from deepseek.quantization.onnx.methods import Setting, Write
from deepseek.quantization.onnx.module import OnnxModule
from deepseek.quantization.onnx.prepare import Node

__all__ = ["ProgramMixture", "program_bytes"]


class ProgramMixture:
    """Programs with some nodes quantized; one of them at a time.

    Args:
        original: The prepared program in floating point.
        setting: What the method works on.
        write: The method.
        nodes: Those that can be quantized.
        folder: For the program of the moment.
    """

    def __init__(
        self,
        original: OnnxModule,
        setting: Setting,
        write: Write,
        nodes: Sequence[Node],
        folder: Path,
    ) -> None:
        self._original = original
        self._setting = setting
        self._write = write
        self._names = [node.name for node in nodes]
        self._path = folder / "model.onnx"
        self._now: frozenset[str] = frozenset()
        self._model = original

    def quantize(self, names: Collection[str]) -> nn.Module:
        """The program in which the nodes of these names are quantized, and no other."""
        return self.program(names)

    def program(self, names: Collection[str]) -> OnnxModule:
        """The same, as what it is; its file lasts until another is asked for."""
        wanted = frozenset(names)
        if wanted != self._now:
            self._model, self._now = self._made(wanted), wanted
        return self._model

    def bytes(self) -> int:
        """Of the files of the program that was asked for last."""
        return program_bytes(self._model.path)

    def _made(self, wanted: frozenset[str]) -> OnnxModule:
        if not wanted:  # to the library an empty list means all
            return self._original
        with quiet():
            self._write(self._setting, self._path, [n for n in self._names if n in wanted])
        return OnnxModule(self._path, self._original.config, self._original.architecture)


def program_bytes(path: Path) -> int:
    """Of a program and the data beside it."""
    data = path.with_name(f"{path.name}.data")
    return path.stat().st_size + (data.stat().st_size if data.exists() else 0)
