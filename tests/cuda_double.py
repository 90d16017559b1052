"""A GPU's memory in Python, lazier than a real one is allowed to be: everything queued happens at synchronization only.

A missing synchronize, a host buffer filled again too early, a context on another thread and a use after freeing, which
a real GPU forgives nine times in ten, here go wrong every time: garbage comes out, or Misuse is raised or noted. Its
clock counts what was done, a millisecond each. Its methods are checked against `runtime.engines.cuda_api.Cuda`.
Computes nothing itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from runtime.engines.cuda_api import CudaError, DeviceFacts

Work = Callable[[], None]


class Misuse(AssertionError):
    """CUDA was used as it may not be; no MienError, so that no engine can take it for a failure of the GPU."""


@dataclass
class Graph:
    """What one recording holds."""

    work: list[Work] = field(default_factory=list)


class CudaDouble:
    """Implements `Cuda`. `events` tells what happened in which order, `misuses` what no exception could tell."""

    binding = "a test double"

    def __init__(self, has_graphs: bool = True, integrated: bool = False):
        self.has_graphs = has_graphs
        self.integrated = integrated
        self.events: list[str] = []
        self.misuses: list[str] = []
        self.copies = 0
        self.launches = 0
        self.broken: str | None = None  # every call fails with it from now on, as after an illegal address
        self.failing: dict[str, str] = {}  # method → message of its next call
        self.hang: threading.Event | None = None  # synchronizing waits for it
        self._owner: threading.Thread | None = None
        self._next = 0x10000
        self._device: dict[int, np.ndarray] = {}
        self._host: dict[int, np.ndarray] = {}
        self._streams: dict[int, list[Work]] = {}
        self._recording: dict[int, Graph] = {}
        self._graphs: dict[int, Graph] = {}
        self._clock = 0  # milliseconds, of which each thing that is done takes one
        self._marks: dict[int, int | None] = {}  # when each event happened; None: it has not

    # What tests and the TensorRT double ask

    def held(self) -> dict[str, int]:
        """Return how many of each thing were not given back."""
        kinds = {"device": self._device, "host": self._host, "streams": self._streams, "graphs": self._graphs,
                 "events": self._marks}
        return {kind: len(things) for kind, things in kinds.items() if things}

    def on_owner(self, what: str) -> bool:
        """Is this the thread that owns the context? Notes a misuse where it is not."""
        if threading.current_thread() is self._owner:
            return True
        self.misuses.append(f"{what} on thread {threading.current_thread().name}")
        return False

    def is_recording(self, stream: int) -> bool:
        return stream in self._recording

    def queue(self, stream: int, work: Work) -> None:
        """Do `work` when the stream is synchronized, or record it."""
        self._enter_call("queue")
        if stream not in self._streams:
            raise Misuse(f"stream {stream} was destroyed or never made")
        recording = self._recording.get(stream)
        (recording.work if recording else self._streams[stream]).append(work)

    def memory(self, address: int, size: int) -> np.ndarray:
        """Return a view of device memory, mapped host memory included."""
        for start, block in self._device.items():
            if start <= address and address + size <= start + block.size:
                return block[address - start : address - start + size]
        raise Misuse(f"{size} bytes at {address:#x} are no device memory, or were freed")

    # Cuda

    def facts(self) -> DeviceFacts:
        return DeviceFacts("double", "sm87", "12.6", self.integrated)

    def enter(self) -> None:
        if "enter" in self.failing:
            raise CudaError(self.failing.pop("enter"))
        self._owner = threading.current_thread()

    def leave(self) -> None:
        self._enter_call("leave")
        self._owner = None

    def check(self) -> None:
        self._enter_call("check")
        for stream in self._streams:
            self._drain(stream)

    def allocate_device(self, size: int) -> int:
        self._enter_call("allocate_device")
        return self._place(self._garbage(size))

    def free_device(self, address: int) -> None:
        self._enter_call("free_device")
        if address not in self._device:
            raise Misuse(f"{address:#x} was freed twice or never allocated")
        self._device.pop(address)[:] = 0xEE
        self.events.append("free_device")

    def allocate_host(self, size: int) -> np.ndarray:
        self._enter_call("allocate_host")
        host = self._garbage(size)
        self._host[host.ctypes.data] = host
        return host

    def free_host(self, host: np.ndarray) -> None:
        self._enter_call("free_host")
        self._require_host(host)
        self._device = {a: block for a, block in self._device.items() if block is not host}
        self._host.pop(host.ctypes.data)[:] = 0xEE  # whoever still looks at it shall see
        self.events.append("free_host")

    def mapped_address(self, host: np.ndarray) -> int:
        self._enter_call("mapped_address")
        self._require_host(host)
        return self._place(host)

    def create_stream(self) -> int:
        self._enter_call("create_stream")
        self._next += 1
        self._streams[self._next] = []
        return self._next

    def destroy_stream(self, stream: int) -> None:
        self._enter_call("destroy_stream")
        if self._streams.pop(stream):
            raise Misuse("a stream was destroyed with work in it")
        self.events.append("destroy_stream")

    def copy_in(self, address: int, host: np.ndarray, size: int, stream: int) -> None:
        self._enter_call("copy_in")

        def copy() -> None:
            self._require_host(host)
            self.memory(address, size)[:] = host[:size]

        self.copies += 1
        self.queue(stream, copy)

    def copy_out(self, host: np.ndarray, address: int, size: int, stream: int) -> None:
        self._enter_call("copy_out")

        def copy() -> None:
            self._require_host(host)
            host[:size] = self.memory(address, size)

        self.copies += 1
        self.queue(stream, copy)

    def synchronize(self, stream: int) -> None:
        self._enter_call("synchronize")
        if self.is_recording(stream):
            self._recording[stream] = Graph()
            raise CudaError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: a stream that records was synchronized")
        if self.hang:
            self.hang.wait()
        self._drain(stream)
        self.events.append("synchronize")

    def create_event(self) -> int:
        self._enter_call("create_event")
        self._next += 1
        self._marks[self._next] = None
        return self._next

    def destroy_event(self, event: int) -> None:
        self._enter_call("destroy_event")
        del self._marks[event]
        self.events.append("destroy_event")

    def record_event(self, event: int, stream: int) -> None:
        self._enter_call("record_event")
        if self.is_recording(stream):
            raise Misuse("an event that is asked for its time was recorded into a graph")
        self._marks[event] = None

        def mark() -> None:
            self._clock -= 1  # noting the time takes none
            self._marks[event] = self._clock

        self.queue(stream, mark)

    def seconds_between(self, began: int, ended: int) -> float:
        self._enter_call("seconds_between")
        first, last = self._marks[began], self._marks[ended]
        if first is None or last is None:
            raise Misuse("a time was asked for before it was there")
        return (last - first) / 1000

    def begin_capture(self, stream: int) -> None:
        self._enter_call("begin_capture")
        if not self.has_graphs or self.is_recording(stream):
            raise Misuse("a recording was begun where none may be")
        self.events.append("begin_capture")
        self._recording[stream] = Graph()

    def end_capture(self, stream: int) -> int:
        recorded = self._recording.pop(stream, None)  # the recording ends, whatever else happens
        self._enter_call("end_capture")
        if recorded is None:
            raise Misuse("a recording was ended that never began")
        self._next += 1
        self._graphs[self._next] = recorded
        return self._next

    def launch(self, graph: int, stream: int) -> None:
        self._enter_call("launch")
        if graph not in self._graphs:
            raise Misuse("a graph was launched after it was destroyed")
        self.launches += 1
        for work in self._graphs[graph].work:
            self.queue(stream, work)

    def destroy_graph(self, graph: int) -> None:
        self._enter_call("destroy_graph")
        del self._graphs[graph]
        self.events.append("destroy_graph")

    def _enter_call(self, method: str) -> None:
        if self.broken:
            raise CudaError(self.broken)
        if not self.on_owner(method):
            raise Misuse(self.misuses[-1])
        if method in self.failing:
            raise CudaError(self.failing.pop(method))

    def _drain(self, stream: int) -> None:
        todo, self._streams[stream] = self._streams[stream], []
        for work in todo:
            self._clock += 1
            work()
        if self.broken:
            raise CudaError(self.broken)

    def _require_host(self, host: np.ndarray) -> None:
        if self._host.get(host.ctypes.data) is not host:
            raise Misuse("pinned memory was used after it was freed, or is not pinned")

    def _place(self, block: np.ndarray) -> int:
        self._next = (self._next + 255) // 256 * 256
        address, self._next = self._next, self._next + block.size + 1
        self._device[address] = block
        return address

    @staticmethod
    def _garbage(size: int) -> np.ndarray:
        return np.random.default_rng(size).integers(1, 256, size, dtype=np.uint8)
