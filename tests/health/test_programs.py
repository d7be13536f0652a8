import os
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from deepseek.health.programs import Programs, Ran

PYTHON = sys.executable


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until_dead(pid: int, seconds: float = 3.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not is_alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_a_program_is_run_and_told_apart() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    ran = Programs().run([PYTHON, "-c", code], os.environ, 20)
    assert ran == Ran(code=3, out="out\n", err="err\n")


def test_it_gets_the_environment_it_is_given_and_no_input() -> None:
    code = "import os, sys; print(os.environ['WHO'], repr(sys.stdin.read()))"
    assert Programs().run([PYTHON, "-c", code], {"WHO": "me"}, 20).out == "me ''\n"


def test_a_program_that_is_not_there_is_no_error() -> None:
    ran = Programs().run(["no-such-program"], {"PATH": "/nowhere"}, 5)
    assert ran == Ran(code=None, err="no-such-program: No such file or directory")


def test_the_path_that_counts_is_the_one_in_the_environment(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho fake\n")
    program.chmod(0o755)
    assert Programs().run(["nvidia-smi"], {"PATH": str(tmp_path)}, 5).out == "fake\n"


def test_bytes_that_are_no_text_do_no_harm() -> None:
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)))"
    ran = Programs().run([PYTHON, "-c", code], os.environ, 20)
    assert ran.code == 0
    assert "ABC" in ran.out


def test_an_overdue_program_is_ended_with_all_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $! >{pids}; echo $$ >>{pids}; echo said; sleep 60"
    begin = time.monotonic()
    ran = Programs().run(["/bin/sh", "-c", script], os.environ, 0.5)
    assert time.monotonic() - begin < 5
    assert (ran.code, ran.out, ran.overdue) == (None, "said\n", True)
    child, shell = map(int, pids.read_text().split())
    assert wait_until_dead(child)
    assert wait_until_dead(shell)


def test_closing_ends_what_still_runs_and_lets_nothing_start() -> None:
    programs = Programs()
    ended: list[Ran] = []
    thread = Thread(target=lambda: ended.append(programs.run(["/bin/sleep", "60"], os.environ, 60)))
    begin = time.monotonic()
    thread.start()
    time.sleep(0.3)
    programs.close()
    thread.join(10)
    assert time.monotonic() - begin < 10
    assert ended[0].code == -9
    late = programs.run(["/bin/echo"], os.environ, 5)
    assert late.code is None
    assert "the run is over" in late.err


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_long_output_does_not_block(size: int) -> None:
    ran = Programs().run([PYTHON, "-c", f"print('x' * {size})"], os.environ, 30)
    assert len(ran.out) == size + 1
