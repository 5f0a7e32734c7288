"""How much memory there is for pictures, and how freed memory stays in the process.

Why it should stay: a network's activations come and go with every batch, and new pages cost time.

glibc gives blocks above a threshold back to the kernel when they are freed, which then has to clear and map new pages for
the next batch: 5,000 to 30,000 page faults a batch of 16 for ResNet-18 at 224 px. Measured on one core, without and with:
bfloat16 92 and 97 images/s, float32 45 and 54. Transparent huge pages (THP_MEM_ALLOC_ENABLE) reach the same, with more
time in the kernel. Memory stays at its peak, which a worker reaches with its largest picture.
"""

from __future__ import annotations

import ctypes
import os
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # malloc.h


def keep_freed_memory() -> None:
    """For the rest of the process, and before it starts threads; does nothing where the C library is not glibc."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_MAX, 0)
        set_option(_TRIM_THRESHOLD, 2**31 - 1)
        set_option(_ARENA_MAX, 1)  # the arenas of other threads are cut from maps, and are given back


TRIM_EVERY_BYTES = 256 << 20
LARGE_BYTES = 8 << 20
"""What decoding takes: of a JPEG 13 bytes for each pixel, and 2 MB."""


class Trimmer:
    """Gives unused pages back to the kernel before a large picture would raise the peak memory of the process.

    Memory that is freed and kept is in pieces, the more of them the longer a worker runs over pictures of many sizes, and a large
    picture then finds no piece that it fits into. Small pictures fill the pieces that others left, and do not count: a worker
    that sees no others never pays. Thread-safe.
    """

    def __init__(self, every_bytes: int = TRIM_EVERY_BYTES, large_bytes: int = LARGE_BYTES) -> None:
        """Pages are given back after large pictures that took `every_bytes` together, or later."""
        self._every_bytes, self._large_bytes = every_bytes, large_bytes
        self._decoded_bytes = self._peak_bytes = 0
        self._lock = threading.Lock()
        self._trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def before(self, need_bytes: int) -> bool:
        """A picture that takes `need_bytes` is about to be decoded; returns whether pages were given back."""
        if need_bytes < self._large_bytes or self._trim is None:
            return False
        with self._lock:
            now_bytes = used_bytes()
            self._peak_bytes = max(self._peak_bytes, now_bytes)
            self._decoded_bytes += need_bytes
            if self._decoded_bytes < self._every_bytes or now_bytes + need_bytes <= self._peak_bytes:
                return False
            self._decoded_bytes = 0
            self._trim(0)
            pa.default_memory_pool().release_unused()  # Arrow has a heap of its own, which keeps what the last part took
            return True


LEAST_FOR_PICTURES = 256 << 20
"""What a worker takes for its pictures however little there is: a camera's picture can be tried with it."""
FOR_BATCHES = 4
"""One part in so many of a worker's memory is for the network's activations and for what it has made."""


def limit_bytes(root: Path = Path("/")) -> int:
    """The memory that this process may use: the machine's, or less where a control group (v1 or v2) says so."""
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_group_limits(root)])


def for_pictures(worker_bytes: int) -> int:
    """What is left of a worker's memory for pictures, once it has loaded torch and its networks."""
    return max(LEAST_FOR_PICTURES, worker_bytes - worker_bytes // FOR_BATCHES - used_bytes())


def used_bytes() -> int:
    """The resident memory of this process; its peak where there is no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _group_limits(root: Path) -> Iterator[int]:
    """The limits of this process's control group and of each group above it, as far as they can be seen from here."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            folder, name = ("", "memory.max") if not controllers else ("memory", "memory.limit_in_bytes")
            yield from _limits_along(root / "sys/fs/cgroup" / folder, group, name)


def _limits_along(mount: Path, group: str, name: str) -> Iterator[int]:
    """In a container the group may be named as it is seen from outside: then only the mount itself has a limit."""
    parts = [part for part in group.split("/") if part not in {"", ".."}]
    for depth in range(len(parts) + 1):
        try:
            text = mount.joinpath(*parts[:depth], name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdecimal():
            yield int(text)
