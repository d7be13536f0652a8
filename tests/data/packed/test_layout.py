"""Headers: what is written is read, and nothing that does not make sense is believed."""

import struct
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.data.packed.field import DTYPES, Field
from deepseek.data.packed.layout import HEADER_BYTES, Header, Section
from deepseek.errors import InputError

PATH = Path("shard.packed")
FIELDS = (Field("tokens", "uint16", ragged=True), Field("image", "uint8", (3, 5)))


def header(records: int = 4) -> Header:
    tokens = Section(FIELDS[0], data=4096, data_bytes=20, offsets=4224, offsets_bytes=40)
    image = Section(FIELDS[1], data=4160, data_bytes=60)
    return Header(records, 4288 + 4, (tokens, image), checksums=4288, checksums_crc32=7)


def resealed(page: bytearray) -> bytes:
    """The page with the checksum that it should have, as somebody with intent would write it."""
    page[12:16] = bytes(4)
    page[12:16] = crc32(page).to_bytes(4, "little")
    return bytes(page)


def changed(at: int, form: str, value: int) -> bytes:
    page = bytearray(header().to_bytes())
    struct.pack_into(form, page, at, value)
    return resealed(page)


def test_a_header_survives() -> None:
    page = header().to_bytes()
    assert len(page) == HEADER_BYTES
    assert Header.from_bytes(page, PATH, 4292) == header()


def test_the_bytes_are_those_of_the_document() -> None:
    page = header().to_bytes()
    assert page[:8] == b"\x89DSPK\r\n\x1a"
    assert struct.unpack_from("<I", page, 8) == (1,)
    assert struct.unpack_from("<QQIIQQI", page, 16) == (4, 4292, 2, 1 << 20, 4288, 1, 7)
    entry = page[64:192]
    assert entry[:48].rstrip(b"\0") == b"tokens"
    assert struct.unpack_from("<HHI", entry, 48) == (3, 0, 1)
    assert struct.unpack_from("<QQQQ", entry, 88) == (4096, 20, 4224, 40)
    image = page[192:320]
    assert struct.unpack_from("<HHI8I", image, 48) == (1, 2, 0, 3, 5, 0, 0, 0, 0, 0, 0)


def test_codes_of_types_never_change() -> None:
    assert {name: dtype.code for name, dtype in DTYPES.items()} == {
        "uint8": 1, "int8": 2, "uint16": 3, "int16": 4, "uint32": 5, "int32": 6, "uint64": 7,
        "int64": 8, "float16": 9, "bfloat16": 10, "float32": 11, "float64": 12, "bool": 13,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (b"", "expected a packed file, found other content"),
        (b"\x89DSPK\r\n\x1a", "expected 4096 bytes of header, found 8"),
        (b"\x89DSPK\n\x1a" + bytes(4096), "expected a packed file, found other content"),
        (changed(8, "<I", 2), "expected version 1 of the packed format, found 2"),
        (changed(24, "<Q", 4000), "expected 4000 bytes as its header states, found 4292"),
        (changed(32, "<I", 0), "0 fields"),
        (changed(32, "<I", 32), "32 fields"),
        (changed(36, "<I", 0), "blocks of 0 bytes"),
        (changed(36, "<I", 2**32 - 1), "blocks of 4294967295 bytes"),
        (changed(16, "<Q", 2**63), "does not have 9223372036854775808 records"),
        (changed(16, "<Q", 5), "does not have 5 records"),
        (changed(40, "<Q", 2**63), "does not end the file"),
        (changed(48, "<Q", 2), "does not end the file"),
        (changed(64 + 48, "<H", 99), "field 0 has type 99"),
        (changed(64 + 50, "<H", 9), "9 dimensions"),
        (changed(64 + 52, "<I", 6), "flags 0x6"),
        (changed(64, "<B", 0xFF), "codec can't decode"),
        (changed(64, "<Q", 0), "printable"),
        (changed(64 + 88, "<Q", 4100), "overlap or lie outside"),
        (changed(64 + 88, "<Q", 0), "overlap or lie outside"),
        (changed(64 + 88, "<Q", 4160), "overlap or lie outside"),
        (changed(64 + 88, "<Q", 2**40), "overlap or lie outside"),
        (changed(64 + 96, "<Q", 21), "does not have 4 records"),
        (changed(64 + 112, "<Q", 32), "does not have 4 records"),
        (changed(192 + 56, "<I", 0), "sizes from 1"),
        (changed(192 + 56, "<I", 2**32 - 1), "does not have 4 records"),
        (changed(192 + 104, "<Q", 4096), "does not have 4 records"),
    ],
)
def test_absurd_headers_are_refused(page: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Header.from_bytes(page, PATH, 4292)
    assert message in caught.value.message
    assert caught.value.message.startswith("shard.packed: ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("at", [0, 9, 20, 40, 70, 120, 200, 4095])
def test_one_wrong_bit_is_found(at: int) -> None:
    page = bytearray(header().to_bytes())
    page[at] ^= 0x10
    with pytest.raises(InputError):
        Header.from_bytes(bytes(page), PATH, 4292)


@given(at=st.integers(0, 320), data=st.binary(min_size=1, max_size=16))
def test_whatever_a_header_says_it_is_read_or_refused(at: int, data: bytes) -> None:
    page = bytearray(header().to_bytes())
    page[at : at + len(data)] = data
    try:
        read = Header.from_bytes(resealed(page), PATH, 4292)
    except InputError:
        return
    assert read.file_bytes == 4292
    for section in read.sections:
        for start, stop in section.spans():
            assert HEADER_BYTES <= start <= stop <= read.checksums


@given(page=st.binary(max_size=5000))
def test_noise_is_refused(page: bytes) -> None:
    with pytest.raises(InputError):
        Header.from_bytes(page, PATH, len(page))
    with pytest.raises(InputError):
        Header.from_bytes(b"\x89DSPK\r\n\x1a" + page, PATH, len(page))
