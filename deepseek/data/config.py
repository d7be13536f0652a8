"""What ``deepseek data pack`` and ``deepseek data inspect`` can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from deepseek.errors import InputError
from deepseek.units import parse_bytes

__all__ = ["InspectConfig", "PackConfig"]


@dataclass(kw_only=True, slots=True, frozen=True)
class PackConfig:
    """The configuration of packing.

    Raises:
        InputError: A number lies outside its range, or two values contradict each other.
    """

    source: Annotated[
        tuple[str, ...],
        "What to pack: files (.jsonl .csv .tsv .txt .parquet .npy .npz, MNIST's idx), a folder of "
        "them, a Hugging Face datasets folder, a folder with a folder of images for each class, "
        "or topics: the texts of Python's own help.",
    ]
    output: Annotated[Path, "Folder to write."]
    tokenizer: Annotated[
        str, "How texts become tokens: bytes, or a folder or file with a tokenizer."
    ] = "bytes"
    pack_length: Annotated[
        int | None,
        "Put texts one behind the other and cut them into sequences of so many tokens, for "
        "language models; a second field says where texts begin and end.",
    ] = None
    max_length: Annotated[int | None, "Cut each text to so many tokens."] = None
    end_token: Annotated[
        str | None,
        "Token behind each text of a sequence, or none; by default the tokenizer's own.",
    ] = None
    dtype: Annotated[
        Literal["auto", "uint8", "uint16", "int32", "int64"],
        "Type of tokens; auto is the smallest that holds the vocabulary.",
    ] = "auto"
    text_column: Annotated[str | None, "The column of the text, where its name does not tell."] = (
        None
    )
    label_column: Annotated[
        str | None, "The column of the label, where its name does not tell."
    ] = None
    columns: Annotated[
        tuple[str, ...], "Columns of numbers or images to keep; by default all, without a text."
    ] = ()
    classes: Annotated[
        tuple[str, ...],
        "Names of the labels in the order of their numbers; by default those found, sorted.",
    ] = ()
    split: Annotated[
        str | None, "Which part to take where files or folders are named train, test, …"
    ] = None
    documents: Annotated[
        Literal["line", "paragraph", "file"],
        "What one text is in a .txt file; paragraphs end at an empty line.",
    ] = "line"
    image_size: Annotated[int | None, "Scale and crop images to a square of so many pixels."] = None
    image_mode: Annotated[Literal["rgb", "gray"], "Channels of images: 3 or 1."] = "rgb"
    shard_size: Annotated[int, "About how large one file becomes.", parse_bytes] = 10**9
    workers: Annotated[int, "Processes that tokenize and decode; with 0 this one does it."] = 0
    resume: Annotated[bool, "Go on where an interrupted packing of the same data stopped."] = False
    overwrite: Annotated[bool, "Replace an output that exists already."] = False

    def __post_init__(self) -> None:
        for name, least in (("pack_length", 2), ("max_length", 1), ("image_size", 1),
                            ("shard_size", 1), ("workers", 0)):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"expected --{name} of at least {least}, got {value}")
        if not self.source:
            raise InputError(
                "expected a SOURCE to pack, got none", hint="topics is one that is always there"
            )
        if self.pack_length is not None and (self.columns or self.label_column or self.classes):
            raise InputError(
                "expected texts alone with --pack_length, got columns or labels to keep as well",
                hint="records with labels keep their own lengths: leave out --pack_length",
            )
        if len(set(self.classes)) < len(self.classes):
            raise InputError(f"expected different --classes, got {', '.join(self.classes)}")


@dataclass(kw_only=True, slots=True, frozen=True)
class InspectConfig:
    """The configuration of an inspection.

    Raises:
        InputError: A number lies outside its range.
    """

    path: Annotated[Path, "A packed data set, or one file of it."]
    records: Annotated[int, "How many records to show."] = 2
    start: Annotated[int, "The first record to show; negative ones count from the end."] = 0
    verify: Annotated[bool, "Read everything and compare it with its checksums."] = False

    def __post_init__(self) -> None:
        if self.records < 0:
            raise InputError(f"expected --records of at least 0, got {self.records}")
