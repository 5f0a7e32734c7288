"""Make small batches in a process of its own, which neither wakes the thread that trains nor takes Python's lock from it.

The process is a fork: it has the samples and the recipe without a copy. Batches come back through memory that both share,
a burst at a time; a pipe says where they lie, as JSON. The fork runs nothing but the code that makes batches, on one core,
and ends with its parent. Whatever becomes of it, the batches that it still owed are made here, and are the same.
"""

from __future__ import annotations

import gc
import json
import math
import mmap
import os
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, cycle
from typing import Any, NoReturn, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor

from pixelmill.pipelines.training.batch_threads import batch_threads
from pixelmill.pipelines.training.batches import AHEAD, BURST_BYTES, Batches, Burst, Made, ahead, next_burst
from pixelmill.workers.recipes import Batch

SLOTS = AHEAD + 1
"""Bursts in shared memory: those that are ready or being made, and the one that is used."""
SLOT_BYTES = 2 * BURST_BYTES
TITLE = "pixelmill::batches"
LEAST_QUICK = 2
"""Batches in a burst where a process pays: larger or slower ones hardly lose to another thread."""
_HELD_BACK = {signal.SIGINT, signal.SIGTERM}
_ALIGNED, _HEADER = 64, struct.Struct("<Q")


class _Place(TypedDict):
    """Where a tensor lies in a slot, and its form there."""

    start: int
    shape: list[int]
    strides: list[int]
    dtype: str


class _Written(TypedDict):
    """A step's batches in a slot."""

    indices: list[int]
    passes: list[dict[str, _Place]]


class _Message(TypedDict):
    made: list[_Written]
    goes_on: NotRequired[bool]


def made_beside(batches: Batches, steps: range, warn: Callable[[str], None]) -> Iterator[Made]:
    """The batches of these steps, made ahead of their use: in a process of its own where they are small and quickly made,
    and on a thread otherwise. The tensors of a step are valid until the next step is asked for. `warn` is told where the
    process ended before its work did.
    """
    stream = batches(steps)
    ready, last = _first(stream)
    if not can_fork() or _is_over(last) or len(last.made) < LEAST_QUICK:
        yield from ahead(_continued(ready, last, stream))
        return
    stream.close()  # it may have threads, of which none is in a fork
    left = steps[len(ready) :]
    try:
        fork = _Fork(batches, left)
    except OSError as error:  # no more processes are allowed, or no memory is left for one
        warn(f"no process could be started to make the batches ({error.strerror}); they are made on a thread")
        yield from ahead(chain(ready, batches(left)))
        return
    with fork:
        yield from ready
        for made in fork:
            left = left[1:]
            yield made
    if left:
        if fork.has_vanished:
            warn("the process that made the batches is gone; they are made on a thread from here on, and are the same")
        yield from ahead(batches(left))


def _first(stream: Iterator[Made]) -> tuple[list[Made], Burst]:
    """The batches of two bursts, and the second of them, by which they are judged: the first batch pays for what is loaded
    only once."""
    with batch_threads(1, torch.get_num_threads()) as pool:
        first = pool.submit(next_burst, stream).result()
        last = first if _is_over(first) else pool.submit(next_burst, stream).result()
    return (first.made if last is first else first.made + last.made), last


def can_fork() -> bool:
    """Whether a process with threads may fork and go on in Python: system libraries of macOS don't admit it."""
    return sys.platform == "linux"


def _is_over(burst: Burst) -> bool:
    return burst.is_last or burst.error is not None


def _continued(ready: list[Made], last: Burst, stream: Iterator[Made]) -> Iterator[Made]:
    yield from ready
    if last.error is not None:
        raise last.error
    if not last.is_last:
        yield from stream


class _Fork:
    """The process, from its start to its end; iterates over what it has made, until it makes no more."""

    def __init__(self, batches: Batches, steps: range) -> None:
        memory = memoryview(mmap.mmap(-1, SLOTS * SLOT_BYTES))  # of no file: it is gone when both processes are
        self._slots = [memory[n * SLOT_BYTES : (n + 1) * SLOT_BYTES] for n in range(SLOTS)]
        from_parent, self._free = os.pipe()
        self._ready, to_parent = os.pipe()
        try:
            self._pid = _forked()
        except OSError:
            for end in (from_parent, self._free, self._ready, to_parent):
                os.close(end)
            raise
        if self._pid == 0:
            _make_until_the_end(batches, steps, self._slots, (from_parent, to_parent), (self._free, self._ready))
        os.close(from_parent)
        os.close(to_parent)
        with suppress(BrokenPipeError):
            os.write(self._free, b"." * SLOTS)
        self.has_vanished = False

    def __enter__(self) -> _Fork:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._free)
        os.close(self._ready)
        with suppress(
            ChildProcessError
        ):  # a handler of SIGCHLD was first, and its number may be another process's by now
            if os.waitpid(self._pid, os.WNOHANG) == (0, 0):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)

    def __iter__(self) -> Iterator[Made]:
        with suppress(BrokenPipeError):
            for slot in cycle(self._slots):
                message = _received(self._ready)
                if message is None:
                    self.has_vanished = True
                    return
                for written in message["made"]:
                    yield _read(written, slot)
                if not message.get("goes_on"):
                    return
                os.write(self._free, b".")


def _forked() -> int:
    """As `os.fork`; signals are held back on this thread, and in the fork until it has handlers of its own: one that raises would
    have it unwind its parent's calls."""
    before, pid = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK), -1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads: the fork uses none of them
            pid = os.fork()
    finally:
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _make_until_the_end(
    batches: Batches, steps: range, slots: list[memoryview], own: tuple[int, int], parents: tuple[int, int]
) -> NoReturn:
    """The whole life of the fork. It ends without Python's own end, which would clean up what belongs to its parent."""
    try:
        gc.disable()  # an object of the parent's that is cleaned up here may speak to threads that are not here
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
        for end in parents:  # with them open here, the end of the parent would not show
            os.close(end)
        torch.set_num_threads(1)
        _name_process()
        _make(batches.apart()(steps), slots, *own)
    except BaseException:  # the parent meets the same error at the same step, and raises it
        pass
    finally:
        os._exit(0)


def _name_process() -> None:
    """Ray gives its workers titles, and a fork has its parent's: whoever looks for workers would find one too many."""
    name = getattr(sys.modules.get("ray._raylet"), "setproctitle", None)
    if name is not None:
        name(TITLE)


def _make(stream: Iterator[Made], slots: list[memoryview], free: int, ready: int) -> None:
    for slot in cycle(slots):
        if not os.read(free, 1):
            return
        burst = next_burst(stream)
        written = list(_written(burst.made, slot))
        goes_on = not _is_over(burst) and len(written) == len(burst.made)
        _send(ready, {"made": written, "goes_on": goes_on})
        if not goes_on:
            return


# ------------------------------------------------------------------------------------------------------- shared memory


@dataclass
class _Room:
    """What is left of a slot."""

    slot: memoryview
    start: int = 0

    def take(self, tensor: Tensor) -> _Place | None:
        """Copy a tensor to the next free place; None where it does not fit, or has gaps: in another layout, the same
        numbers may be added in another order."""
        start, strides = -(-self.start // _ALIGNED) * _ALIGNED, tensor.stride()
        if start + tensor.nbytes > len(self.slot) or strides != torch.empty_like(tensor, device="meta").stride():
            return None
        dtype = str(tensor.dtype).removeprefix("torch.")
        place = _Place(start=start, shape=list(tensor.shape), strides=list(strides), dtype=dtype)
        _view(place, self.slot).copy_(tensor)
        self.start = start + tensor.nbytes
        return place


def _view(place: _Place, slot: memoryview) -> Tensor:
    dtype: torch.dtype = getattr(torch, place["dtype"])
    count = math.prod(place["shape"])
    if not count:
        return torch.empty(place["shape"], dtype=dtype)
    flat = torch.frombuffer(slot, dtype=dtype, count=count, offset=place["start"])
    return flat.as_strided(place["shape"], place["strides"])


def _written(made: list[Made], slot: memoryview) -> Iterator[_Written]:
    """The steps whose batches fit into a slot, as they lie there; none after the first that does not."""
    room = _Room(slot)
    for indices, passes in made:
        places = [{name: room.take(tensor) for name, tensor in batch.items()} for batch in passes]
        whole = [{name: place for name, place in batch.items() if place is not None} for batch in places]
        if whole != places:
            return
        yield _Written(indices=indices.tolist(), passes=whole)


def _read(written: _Written, slot: memoryview) -> Made:
    passes: list[Batch] = [{name: _view(place, slot) for name, place in batch.items()} for batch in written["passes"]]
    return np.array(written["indices"], np.int64), passes


# --------------------------------------------------------------------------------------------------------------- pipes


def _send(pipe: int, message: _Message) -> None:
    data = json.dumps(message).encode()
    left = memoryview(_HEADER.pack(len(data)) + data)
    while left:
        left = left[os.write(pipe, left) :]


def _received(pipe: int) -> Any:
    """The next message; None where the other process is gone."""
    header = _exactly(pipe, _HEADER.size)
    data = header and _exactly(pipe, _HEADER.unpack(header)[0])
    return json.loads(data) if data else None


def _exactly(pipe: int, count: int) -> bytes | None:
    parts: list[bytes] = []
    while count:
        part = os.read(pipe, min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
