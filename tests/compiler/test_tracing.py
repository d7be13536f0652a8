"""Traces of several threads one after the other."""

import os
import threading

import pytest
import torch
from torch._dynamo.convert_frame import compile_lock
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

import deepseek
from deepseek.compiler.tracing import alone


def in_thread(work):
    """What ``work`` returns in another thread."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    thread.join()
    return answers[0]


def dynamo_may_compile():
    taken = compile_lock.acquire(blocking=False)
    if taken:
        compile_lock.release()
    return taken


def test_dynamo_waits_while_others_trace():
    with alone():
        assert not in_thread(dynamo_may_compile)
    assert in_thread(dynamo_may_compile)


def test_one_trace_within_another():
    with alone(), alone():
        pass
    assert in_thread(dynamo_may_compile)


def test_threads_take_turns():
    inside, most = [], []

    def trace():
        for _ in range(50):
            with alone():
                inside.append(None)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=trace) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_may_trace():
    entered, leave = threading.Event(), threading.Event()

    def hold():
        from deepseek.compiler import tracing

        with tracing._lock:
            entered.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    child = os.fork()
    if child == 0:
        with alone():
            os._exit(0)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_torch_forgets_that_it_traced(monkeypatch):
    # AOTAutograd may have left it set, where threads met in it
    monkeypatch.setattr("torch.utils._python_dispatch._is_in_torch_dispatch_mode", False)
    models = [torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.GELU()).eval() for _ in range(4)]
    fast = [deepseek.compile(model) for model in models]
    failures = []

    def work(place):
        try:
            with torch.no_grad():
                for rows in range(1, 5):
                    x = torch.ones(rows, 8)
                    for _ in range(3):
                        torch.testing.assert_close(fast[place](x), models[place](x))
        except Exception as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert not is_in_torch_dispatch_mode()
    assert not torch.compiler.is_compiling()
