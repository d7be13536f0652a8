"""What was promised is done once, whoever asks first; forked processes and errors included."""

import gc
import os
import signal
import threading
import weakref

import pytest

from deepseek.kernels.later import Later


def test_a_thread_does_it_before_anybody_asks():
    done = threading.Event()
    promise = Later(lambda: done.set() or threading.get_ident())
    assert done.wait(10)
    assert promise() != threading.get_ident()


def test_it_is_done_once_however_many_ask():
    calls, answers, begin = [], [], threading.Barrier(8)

    def work():
        calls.append(threading.get_ident())
        return object()

    def ask():
        begin.wait()
        answers.append(promise())

    held = threading.Event()
    busy, promise = Later(held.wait), Later(work)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held.set()
    assert busy()
    assert len(calls) == 1
    assert len(answers) == 8
    assert len(set(map(id, answers))) == 1


def test_who_cannot_wait_does_it_on_the_spot():
    held = threading.Event()
    first = Later(held.wait)  # keeps the thread
    second = Later(threading.get_ident)
    assert second() == threading.get_ident()
    held.set()
    assert first()


def test_who_asks_hears_of_an_error_and_may_ask_again():
    def work():
        if not ready:
            raise OSError("not yet")
        return 3

    ready = []
    promise = Later(work)
    with pytest.raises(OSError, match="not yet"):
        promise()
    ready.append(True)
    assert promise() == 3


def test_errors_do_not_keep_others_from_being_done():
    def fails():
        raise OSError("no")

    done = threading.Event()
    promises = [Later(fails), Later(done.set)]
    assert done.wait(10)
    assert promises


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

    begun, waiting = Later(work), Later(lambda: 3)
    entered.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        held.set()
        os._exit(begun() * waiting() * Later(lambda: 7)())
    held.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert begun() * waiting() == 6
