"""Memory between two kernels: kept by a thread, its own for whoever writes calls down."""

import threading

from deepseek.kernels import parallel
from deepseek.kernels import scratch as module
from deepseek.kernels.scratch import scratch


def test_a_thread_gets_the_same_memory_again_and_more_where_it_needs_more():
    first = scratch("test", 1000)
    assert first.nbytes >= 1000
    assert scratch("test", 500) is first
    assert scratch("test", 2000).nbytes >= 2000
    assert scratch("other test", 500) is not scratch("test", 500)


def test_another_thread_gets_other_memory():
    other = []
    thread = threading.Thread(target=lambda: other.append(scratch("test", 1000)))
    thread.start()
    thread.join()
    assert other[0].data_ptr() != scratch("test", 1000).data_ptr()


def test_very_much_memory_is_not_kept(monkeypatch):
    monkeypatch.setattr(module, "_MOST_KEPT", 100)
    assert scratch("much", 101) is not scratch("much", 101)
    assert scratch("much", 100) is scratch("much", 100)


def test_calls_that_are_written_down_get_memory_of_their_own():
    kept = scratch("test", 100)
    with parallel.listening(lambda launch: None):
        assert scratch("test", 100) is not kept
        assert scratch("test", 100) is not scratch("test", 100)
    assert scratch("test", 100) is kept
