"""The one thread that owns the CUDA context: contexts never cross threads, so calls from any thread are handed over.

It also judges the context. Some CUDA errors break it for good, and every later call of the process fails alike
(cuda.h: "the process must be terminated and relaunched"). Then the GPU is lost, and every call says so with GpuLost.
Knows nothing of TensorRT.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from queue import SimpleQueue
from typing import Any, TypeVar

from runtime.engines.cuda_api import Cuda, load_cuda
from runtime.errors import GpuLost, MienError

Result = TypeVar("Result")
RESTART = "no work on the GPU is possible in this process any more: restart it"


class CudaThread:
    """A daemon thread inside the device's primary context, and a queue of calls to make there."""

    def __init__(self, cuda: Cuda):
        """Start the thread and enter the context on it. Raises CudaError."""
        self.cuda = cuda
        self.lost: str | None = None
        self._entered = False
        self._undone: list[Callable[[], Any]] = []  # holds what no thread without the context may destroy
        self._calls: SimpleQueue[tuple[Future[Any], threading.Event, Callable[[], Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="cuda", daemon=True)
        self._thread.start()
        try:
            self.call(cuda.enter)
            self._entered = True
        except BaseException:
            self._calls.put(None)
            raise

    def call(self, work: Callable[[], Result], patience: float | None = None) -> Result:
        """Do `work` on the thread and return its result, or raise what it raised.

        patience: seconds of work, without those of waiting for other calls, after which a silent GPU counts as lost;
        None waits. Raises GpuLost.
        """
        if threading.current_thread() is self._thread:
            return work()
        self._require_thread()
        future: Future[Result] = Future()
        started = threading.Event()
        self._calls.put((future, started, work))
        while not started.wait(1.0):
            self._require_thread()  # the call before this one may hang, and its caller says so
        try:
            return future.result(patience)
        except FutureTimeout:
            if future.done():  # the work itself raised it
                raise
            self.lost = f"no answer in {patience:g} s"
            raise GpuLost(f"expected the GPU to answer, found {self.lost}; {RESTART}") from None

    def call_later(self, work: Callable[[], object]) -> None:
        """Do `work` on the thread some time, and wait for nothing: what a garbage collection may ask."""
        self._calls.put((Future(), threading.Event(), work))

    def close(self) -> None:
        """Leave the context and end the thread; what is queued is done first."""
        if self.lost is None and self._thread.is_alive():
            self.call(self.cuda.leave)
        self._calls.put(None)
        self._thread.join(1.0)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            future, started, work = item
            started.set()
            if self.lost:
                self._undone.append(work)
            try:
                self._require_context()  # lost while this call waited its turn
                future.set_result(work())
            except BaseException as error:
                future.set_exception(self._judge(error))
            del item, future, work  # what they hold must not outlive the call until the next one comes

    def _judge(self, error: BaseException) -> BaseException:
        """Return the error, or GpuLost where the context no longer answers. What a failed call queued is done then."""
        if self._entered and not self.lost:
            try:
                self.cuda.check()
            except Exception as broken:  # whatever it is: a thread that died would leave its callers waiting
                self.lost = str(error) if str(broken) in str(error) else f"{error}; {broken}"
                error = GpuLost(f"expected a GPU that works, found it lost: {self.lost}; {RESTART}")
                error.__cause__ = broken
        met: BaseException | None = error if isinstance(error, MienError) else None  # of a bug, the frames tell where
        while met is not None:
            met.__traceback__ = None  # its frames hold what only this thread may destroy
            met = met.__cause__ or met.__context__
        return error

    def _require_thread(self) -> None:
        self._require_context()
        if not self._thread.is_alive():  # closed, or we are a fork of the process that had it
            raise MienError("expected the CUDA thread of this process, found it ended; open the engine in the process "
                            "that runs it")

    def _require_context(self) -> None:
        if self.lost:
            raise GpuLost(f"expected a GPU that works, found it lost: {self.lost}; {RESTART}")


_opening = threading.Lock()
_shared: list[CudaThread] = []


def shared_cuda_thread() -> CudaThread:
    """Return this process's CUDA thread; it lives as long as the process, as the primary context does.

    One for all engines, because a broken context is broken for all of them. Raises Unavailable, CudaError.
    """
    with _opening:
        if not _shared:
            _shared.append(CudaThread(load_cuda()))
        return _shared[0]
