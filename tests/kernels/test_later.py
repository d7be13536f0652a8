"""What was promised is done once, by a thread; forked processes and errors included."""

import gc
import os
import signal
import threading
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from deepseek.kernels.later import Later


def test_a_thread_does_it_before_anybody_asks():
    done = threading.Event()
    promise = Later(lambda: done.set() or threading.get_ident())
    assert done.wait(10)
    assert promise() != threading.get_ident()


def test_it_is_done_once_and_in_order_however_many_ask():
    calls, answers, begin, held = [], [], threading.Barrier(8), threading.Event()

    def ask():
        begin.wait()
        answers.extend(promise() for promise in reversed(promises))

    busy = Later(held.wait)
    promises = [Later(lambda place=place: calls.append(place) or object()) for place in range(9)]
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    held.set()
    for thread in threads:
        thread.join()
    assert busy()
    assert calls == list(range(9))
    assert len(answers) == 72
    assert len(set(map(id, answers))) == 9


def test_the_callers_modes_do_not_see_it():
    class Hears(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            heard.append(func)
            return func(*args, **(kwargs or {}))

    heard, held = [], threading.Event()
    busy = Later(held.wait)
    promise = Later(lambda: torch.ones(2) + 1)
    with Hears():
        held.set()
        assert promise().shape == (2,)
    assert busy()
    assert heard == []


def test_whoever_asks_hears_of_an_error():
    def fails():
        raise OSError("no")

    promises = [Later(fails), Later(lambda: 3)]
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            promises[0]()
    assert promises[1]() == 3


def test_what_nobody_wants_any_more_is_not_done():
    held, called = threading.Event(), []
    first = Later(held.wait)
    Later(lambda: called.append(True))
    last = Later(lambda: None)
    gc.collect()
    held.set()
    first()
    last()
    assert called == []


def test_what_it_took_is_let_go_when_it_is_done():
    class Source:
        pass

    source = Source()
    gone = weakref.ref(source)
    promise = Later(lambda source=source: id(source))
    promise()
    Later(lambda: None)()  # the thread has let go of the one before
    del source
    gc.collect()
    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_does_what_was_begun_or_waiting():
    entered, held = threading.Event(), threading.Event()

    def work():
        entered.set()
        held.wait()
        return 2

    done = Later(lambda: 1)
    assert done() == 1
    begun, waiting = Later(work), Later(lambda: 3)
    entered.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        held.set()
        os._exit(done() * begun() * waiting() * Later(lambda: 7)())
    held.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert begun() * waiting() == 6
