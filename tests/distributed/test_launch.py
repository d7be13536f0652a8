"""Processes are started, watched and ended: one error, no orphan."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import workers

from deepseek.distributed import RankError, launch
from deepseek.errors import InputError

HERE = Path(__file__).parent
TIMEOUT = 60


def test_one_process_is_this_one_and_has_no_group() -> None:
    heard: list[tuple[str, int, int | None]] = []
    found = launch(workers.describe, "x", nproc=1, progress=lambda *told: heard.append(told))
    assert (found["pid"], found["world"]) == (os.getpid(), 1)
    assert heard == [("describing", 1, 2)]


def test_two_processes_form_a_group_and_rank_0_answers() -> None:
    heard: list[tuple[str, int, int | None]] = []
    found = launch(workers.describe, "x", nproc=2, progress=lambda *told: heard.append(told))
    assert found["variables"] == {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    assert (found["extra"], found["world"]) == ("x", 2)
    assert found["threads"] == max(1, len(os.sched_getaffinity(0)) // 2)
    assert found["pid"] != os.getpid()
    assert found["tensor"].tolist() == [0, 1, 2]
    assert heard == [("describing", 1, 2)]
    assert "RANK" not in os.environ


def test_no_process_is_refused() -> None:
    with pytest.raises(InputError, match="at least one process, got 0"):
        launch(workers.describe, "x", nproc=0)


def test_a_failure_is_one_error_with_the_rank_and_its_traceback(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(RankError) as caught:
        launch(workers.fail, "error", nproc=2)
    text = str(caught.value)
    assert text.startswith("rank 1 failed: ValueError: something broke\nTraceback")
    assert text.count("Traceback") == 1
    assert 'raise ValueError("something broke")' in text
    assert "distributed/rank.py" not in text
    assert caught.value.rank == 1
    assert "Traceback" not in capfd.readouterr().err


def test_what_a_user_caused_comes_out_as_itself() -> None:
    with pytest.raises(InputError) as caught:
        launch(workers.fail, "input", nproc=2)
    assert (caught.value.message, caught.value.hint) == ("expected a, got b", "use a")


def test_a_killed_rank_is_the_one_that_is_blamed() -> None:
    with pytest.raises(RankError, match="rank 1 failed: killed by SIGKILL"):
        launch(workers.fail, "kill", nproc=2)


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, HERE / "workers.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def wait_for_ranks(folder: Path) -> list[int]:
    files = [folder / "0.pid", folder / "1.pid"]
    until(lambda: all(file.exists() and file.read_text() for file in files))
    return [int(file.read_text()) for file in files]


def gone(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_reaches_every_rank_once_and_work_can_end_in_order(
    number: signal.Signals, tmp_path: Path
) -> None:
    process = start("linger", str(tmp_path), "handles")
    pids = wait_for_ranks(tmp_path)
    process.send_signal(number)
    out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out, err) == (0, "saved", "")
    assert [(tmp_path / f"{rank}.saved").read_text() for rank in (0, 1)] == ["1", "1"]
    assert all(gone(pid) for pid in pids)


def test_a_signal_that_nobody_handles_ends_all(tmp_path: Path) -> None:
    process = start("linger", str(tmp_path), "plain")
    pids = wait_for_ranks(tmp_path)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 128 + signal.SIGTERM
    assert err == ""
    assert all(gone(pid) for pid in pids)


def test_no_rank_outlives_a_killed_parent(tmp_path: Path) -> None:
    process = start("linger", str(tmp_path), "handles")
    pids = wait_for_ranks(tmp_path)
    process.kill()
    process.communicate(timeout=TIMEOUT)
    until(lambda: all(gone(pid) for pid in pids))


@pytest.mark.slow
def test_torchruns_processes_are_joined() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         "--no-python", sys.executable, str(HERE / "workers.py"), "describe"],
        capture_output=True, text=True, timeout=2 * TIMEOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # Every rank has the result of rank 0, of a group of two.
    assert sorted(done.stdout.splitlines()) == ["2 0 0", "2 0 1"]
