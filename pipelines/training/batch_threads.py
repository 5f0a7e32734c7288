"""Threads that make batches: how many, and one core for each.

Threads, because the work is done in torch and NumPy, which let other threads run meanwhile, but for small batches
(batch_process.py). Measured against processes that share memory, in turns on two cores: see benchmarks/README.md.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

MOST_THREADS = 16


def threads_beside(cores: int, workers: int, training_threads: int, *, on_gpu: bool) -> int:
    """The number of threads that make the batches of each of `workers` on a machine: the cores that training leaves."""
    of_each = cores // max(1, workers)
    taken = 1 if on_gpu else training_threads
    return max(1, min(MOST_THREADS, of_each - taken))


def batch_threads(count: int, training_threads: int) -> ThreadPoolExecutor:
    """A pool whose threads run each operation of torch on one core; all other threads keep `training_threads`."""
    return ThreadPoolExecutor(count, "batches", initializer=_one_core, initargs=(training_threads,))


_one_at_a_time = threading.Lock()


def _one_core(training_threads: int) -> None:
    """Torch keeps the number for a thread, and as the default of later ones: another thread restores the default."""
    with _one_at_a_time:
        torch.get_num_threads()  # where it was not asked yet, the first operation would take the default
        torch.set_num_threads(1)
        restore = threading.Thread(target=torch.set_num_threads, args=(training_threads,))
        restore.start()
        restore.join()
