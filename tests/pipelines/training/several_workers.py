"""Run a function in several processes that exchange tensors, as the workers of one training do."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def run_together(job: Callable[..., None], *arguments: Any, workers: int = 2) -> None:
    """Call `job(rank, *arguments)` in each process; all must end well."""
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = f"file://{Path(folder) / 'rendezvous'}"
        context = get_context("spawn")
        processes = [
            context.Process(target=_joined, args=(rendezvous, rank, workers, job, arguments)) for rank in range(workers)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * workers


def _joined(rendezvous: str, rank: int, workers: int, job: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=workers)
    try:
        job(rank, *arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # at once, so that the others do not wait for it
    with suppress(RuntimeError):  # of one that has left already
        dist.barrier()
    os._exit(0)  # as Ray ends its workers: an interpreter that ends in order waits for gloo's threads
