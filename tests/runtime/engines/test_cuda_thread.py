"""The thread that owns the CUDA context: calls from everywhere happen there, and a broken context is broken for all."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Iterator

import pytest
from cuda_double import CudaDouble

from runtime.engines import cuda_thread
from runtime.engines.cuda_api import CudaError
from runtime.engines.cuda_thread import CudaThread, shared_cuda_thread
from runtime.errors import BadInput, GpuLost, MienError, Unavailable

BROKEN = "expected cuStreamSynchronize to succeed, found CUDA_ERROR_ILLEGAL_ADDRESS"


@pytest.fixture
def thread() -> Iterator[CudaThread]:
    made = CudaThread(CudaDouble())
    yield made
    made.close()


def raising(error: Exception) -> object:
    def work() -> None:
        raise error
    return work


def test_calls_of_every_thread_happen_on_one(thread: CudaThread) -> None:
    seen: list[threading.Thread] = []
    callers = [threading.Thread(target=lambda: seen.append(thread.call(threading.current_thread))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(seen) == 8 and len(set(seen)) == 1 and seen[0].name == "cuda" and seen[0].daemon


def test_a_call_within_a_call_does_not_wait_for_itself(thread: CudaThread) -> None:
    assert thread.call(lambda: thread.call(lambda: 7)) == 7


@pytest.mark.parametrize("error", [BadInput("expected this"), CudaError("expected that"), ValueError("a bug")])
def test_what_a_call_raises_reaches_its_caller_and_nobody_else(thread: CudaThread, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        thread.call(raising(error))
    assert thread.call(lambda: 7) == 7 and thread.lost is None


def test_an_error_after_which_the_context_fails_is_a_lost_gpu(thread: CudaThread) -> None:
    def work() -> None:
        thread.cuda.broken = BROKEN
        raise MienError("expected TensorRT to run, found: Error Code 1")

    with pytest.raises(GpuLost, match="Error Code 1; expected cuStreamSynchronize.*restart it"):
        thread.call(work)
    with pytest.raises(GpuLost, match="Error Code 1"):
        thread.call(lambda: 7)
    assert thread.lost


def test_a_foreign_error_on_a_broken_context_is_a_lost_gpu_too(thread: CudaThread) -> None:
    def work() -> None:
        thread.cuda.broken = BROKEN
        raise RuntimeError("what a binding of C++ may raise")

    with pytest.raises(GpuLost, match="C\\+\\+ may raise; expected cuStreamSynchronize"):
        thread.call(work)


def test_what_a_failed_call_queued_is_done_before_the_next_one(thread: CudaThread) -> None:
    done: list[str] = []

    def work() -> None:
        thread.cuda.queue(stream, lambda: done.append("queued"))
        raise ValueError("a bug")

    stream = thread.call(thread.cuda.create_stream)
    with pytest.raises(ValueError, match="a bug"):
        thread.call(work)
    assert thread.call(lambda: list(done)) == ["queued"]
    thread.call(lambda: thread.cuda.destroy_stream(stream))


def test_a_bug_is_no_lost_gpu(thread: CudaThread) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        thread.call(lambda: 1 // 0)
    assert caught.traceback[-1].name == "<lambda>" and thread.lost is None


def test_a_failed_call_keeps_nothing_of_its_frames(thread: CudaThread) -> None:
    class Held:
        pass

    born: list[weakref.ref[Held]] = []

    def work() -> None:
        held = Held()
        born.append(weakref.ref(held))
        raise BadInput("expected this, found that")

    with pytest.raises(BadInput) as caught:
        thread.call(work)
    gc.collect()
    assert born[0]() is None and caught.value.args == ("expected this, found that",)


def test_what_a_call_held_is_gone_before_the_next_one(thread: CudaThread) -> None:
    held = {1, 2}
    gone = weakref.ref(held)
    assert thread.call(lambda kept=held: len(kept)) == 2
    del held
    thread.call(lambda: None)
    assert gone() is None


def test_silence_is_a_lost_gpu_for_those_who_wait_too(thread: CudaThread) -> None:
    hang = threading.Event()
    errors: list[BaseException] = []

    def wait_behind() -> None:
        try:
            thread.call(lambda: 7)
        except GpuLost as error:
            errors.append(error)

    def hang_first() -> None:
        waiting.start()
        hang.wait()

    waiting = threading.Thread(target=wait_behind)
    with pytest.raises(GpuLost, match="no answer in 0.2 s"):
        thread.call(hang_first, patience=0.2)
    waiting.join()
    assert "no answer" in str(errors[0])
    for _ in range(3):
        with pytest.raises(GpuLost, match="no answer"):
            thread.call(lambda: 7)
    assert thread._calls.qsize() == 1  # what waited; a lost GPU is handed nothing more
    hang.set()


def test_waiting_for_others_is_no_silence(thread: CudaThread) -> None:
    done = threading.Event()
    slow = threading.Thread(target=lambda: thread.call(lambda: done.wait(0.5)))
    slow.start()
    assert thread.call(lambda: 7, patience=0.3) == 7
    slow.join()


def test_a_context_that_cannot_be_entered_is_an_error_and_leaves_no_thread() -> None:
    cuda = CudaDouble()
    cuda.failing = {"enter": "expected cuDevicePrimaryCtxRetain to succeed, found out of memory"}
    before = threading.active_count()
    with pytest.raises(CudaError, match="out of memory") as caught:
        CudaThread(cuda)
    assert not isinstance(caught.value, GpuLost)
    for thread in threading.enumerate()[before:]:
        thread.join(5)
    assert threading.active_count() == before


def test_an_ended_thread_says_so(thread: CudaThread) -> None:
    thread.close()
    with pytest.raises(MienError, match="found it ended"):
        thread.call(lambda: 7)


def test_a_call_that_meets_the_end_of_the_thread_says_so(thread: CudaThread) -> None:
    thread._calls.put(None)  # as another thread's close would, a moment earlier
    with pytest.raises(MienError, match="found it ended"):
        thread.call(lambda: 7)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # just what is tested
def test_a_fork_is_told_that_the_gpu_stayed_behind(thread: CudaThread) -> None:
    child = os.fork()
    if child == 0:
        try:
            thread.call(lambda: 7)
        except MienError as error:
            os._exit(42 if "in the process that runs it" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


def test_a_process_has_one_thread_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_thread, "_shared", [])
    monkeypatch.setattr(cuda_thread, "load_cuda", CudaDouble)
    together = threading.Barrier(4)
    found: list[CudaThread] = []

    def ask() -> None:
        together.wait()
        found.append(shared_cuda_thread())

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(set(found)) == 1
    found[0].close()


def test_a_gpu_that_comes_later_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_yet() -> CudaDouble:
        raise Unavailable("expected an NVIDIA GPU, found none")

    monkeypatch.setattr(cuda_thread, "_shared", [])
    monkeypatch.setattr(cuda_thread, "load_cuda", none_yet)
    with pytest.raises(Unavailable):
        shared_cuda_thread()
    monkeypatch.setattr(cuda_thread, "load_cuda", CudaDouble)
    shared_cuda_thread().close()
