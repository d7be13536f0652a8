"""Opening a file of 20 GB that is not in memory, and opening 0.5 GB in the formats of others.

The large file is sparse: 20 GB of zeros that take no room on the disk. Each opening is in a process
of its own that has imported everything and opened a small data set before; the pages of the files
are dropped from memory first. Prints one JSON object for each figure.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any
from zlib import crc32

from peers import LENGTH, OURS, PEERS, Peer, built, installed, versions

from deepseek.data import Field
from deepseek.data.packed.layout import HEADER_BYTES, Header, Section

ROUNDS = 7
GB = 10**9
BAR = 5.0  # milliseconds
RSS_BAR = 1.0  # MB
BLOCK = 2**20

PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import psutil
from peers import OURS, PEERS
peer = (OURS, *PEERS)[int(sys.argv[2])]
small, large, records = sys.argv[3:]
keep = peer.open(Path(small))
keep.sample(1)
before = psutil.Process().memory_info().rss
begin = time.perf_counter()
opened = peer.open(Path(large))
seconds = time.perf_counter() - begin
opened.sample(int(records) - 1)
print("result", seconds * 1000, (psutil.Process().memory_info().rss - before) / 1e6)
"""


def write_sparse(folder: Path, size: int) -> int:
    """A shard of zeros of about this size; how many records it has."""
    field = Field("x", "int32", (LENGTH,))
    payload = size // BLOCK * BLOCK
    table = crc32(bytes(BLOCK)).to_bytes(4, "little") * (payload // BLOCK)
    records, end = payload // field.row_bytes, HEADER_BYTES + payload
    section = Section(field, HEADER_BYTES, payload)
    header = Header(records, end + len(table), (section,), end, crc32(table))
    folder.mkdir()
    with (folder / "00000.packed").open("wb") as file:
        file.write(header.to_bytes())
        file.seek(end)
        file.write(table)
    return records


def drop(folder: Path) -> None:
    """Take the pages of the files out of memory."""
    os.sync()
    for path in [folder] if folder.is_file() else folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def cold_open(peer: Peer, small: Path, large: Path, records: int) -> list[float]:
    """Milliseconds, and megabytes of memory that it took with one record read."""
    drop(large)
    number = (OURS, *PEERS).index(peer)
    here = str(Path(__file__).parent)
    arguments = [here, str(number), str(small), str(large), str(records)]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    (found,) = [line.split()[1:] for line in run.stdout.splitlines() if line.startswith("result")]
    return [float(value) for value in found]


def line(figure: str, setting: Any, ours: float, unit: str, bar: float | None) -> dict[str, Any]:
    """What every figure says."""
    return {
        "figure": figure,
        "setting": setting,
        "ours": round(ours, 3),
        "theirs": None,
        "unit": unit,
        "peer": None,
        "ratio": None,
        "bar": bar,
        "met": None if bar is None else ours <= bar,
        "threads": 1,
        "load": round(os.getloadavg()[0], 2),
        "cpu": platform.processor() or platform.machine(),
        "versions": versions(OURS),
    }


def medians(runs: Sequence[Sequence[float]]) -> list[float]:
    """The median of each number over the runs."""
    return [median(values) for values in zip(*runs, strict=True)]


def main() -> None:
    """Build, open, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--records", type=int, default=131_072, help="in the formats of others")
    parser.add_argument("--folder", type=Path, help="keep the data sets here, and use them again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        top = arguments.folder or Path(temporary)
        sparse = Path(temporary) / "sparse"
        records = write_sparse(sparse, int(arguments.gigabytes * GB))
        small = built(OURS, top, 1000)
        file = sparse / "00000.packed"
        milliseconds, growth = medians(
            [cold_open(OURS, small, file, records) for _ in range(ROUNDS)]
        )
        setting = {"gigabytes": arguments.gigabytes, "cold": True, "rounds": ROUNDS}
        print(json.dumps(line("open a large file", setting, milliseconds, "ms", BAR)), flush=True)
        print(json.dumps(line("memory of an open large file", setting, growth, "MB", RSS_BAR)))
        beside_peers(top, arguments.records)


def beside_peers(top: Path, records: int) -> None:
    """Ours and each peer in turns, on the same records."""
    setting = {"records": records, "gigabytes": records * LENGTH * 4 / GB, "cold": True}
    for peer in PEERS:
        if not installed(peer):
            print(f"left out, not installed: {peer.name}", file=sys.stderr)
            continue
        ours, theirs = [], []
        for _ in range(ROUNDS):
            for contender, times in ((OURS, ours), (peer, theirs)):
                small, large = built(contender, top, 1000), built(contender, top, records)
                times.append(cold_open(contender, small, large, records))
        ratio = median(b[0] / a[0] for a, b in zip(ours, theirs, strict=True))
        found = {
            **line("open the same records", setting, medians(ours)[0], "ms", None),
            "theirs": round(medians(theirs)[0], 3),
            "peer": peer.name,
            "ratio": round(ratio, 2),
            "megabytes": {"ours": medians(ours)[1], "theirs": medians(theirs)[1]},
            "versions": versions(peer),
        }
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
