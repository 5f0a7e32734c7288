"""The limit: decode and forward in the settings that Pixelmill chose, one process per core, without an engine.

From a folder, the JPEGs are read into memory beforehand: an upper bound for every engine on this machine. From s3://, each is
fetched while others are computed, because the server uses the same cores. Nothing is written.

    python -m benchmarks.baselines.limit --source FOLDER|s3://... --out FOLDER --images N --json FILE
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.baselines.measurement import list_images, steady_images_per_s, task_from_command_line

MODEL = "torchvision:resnet18/random"
AHEAD = 64


def work(paths: list[str], cache_dir: str, ready: Any, finished: Any) -> None:
    """Embed these files batch by batch, once every process is warm."""
    from pixelmill.workers.runtime.memory import keep_freed_memory

    keep_freed_memory()
    import torch

    torch.set_num_threads(1)
    from pixelmill.pipelines.stores.access import Access
    from pixelmill.pipelines.stores.reading import ObjectReader
    from pixelmill.workers.codecs.decode import decode_picture
    from pixelmill.workers.pictures import Picture
    from pixelmill.workers.stages import StageContext
    from pixelmill.workers.stages.embed import EmbedConfig

    stage = EmbedConfig.model_validate({"model": MODEL}).build(StageContext("cpu", 1, len(paths), Path(cache_dir)))
    read = partial(ObjectReader(Access()).read, max_bytes=1 << 30)
    stage.run([stage.prepare(Picture(decode_picture(read(path)))) for path in paths[:16]])
    events: list[tuple[float, int]] = []
    with ThreadPoolExecutor(8) as pool:
        data = ahead(pool, read, paths) if paths[0].startswith("s3://") else iter([read(path) for path in paths])
        ready.wait()
        while batch := list(islice(data, stage.batch)):
            stage.run([stage.prepare(Picture(decode_picture(item))) for item in batch])
            events.append((time.time(), len(batch)))
    finished.put(events)


def ahead(pool: ThreadPoolExecutor, read: Callable[[str], bytes], paths: list[str]) -> Iterator[bytes]:
    """Yield `read(path)` for each path, in order, with up to AHEAD reads in progress."""
    window: deque[Future[bytes]] = deque()
    for path in paths:
        window.append(pool.submit(read, path))
        if len(window) == AHEAD:
            while len(window) > AHEAD // 2:
                yield window.popleft().result()
    yield from (future.result() for future in window)


def main() -> None:
    started_s = time.time()
    task = task_from_command_line(__doc__)
    paths, cores = list_images(task), len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    ready, finished = context.Barrier(cores), context.Queue()
    cache_dir = os.environ["PIXELMILL_BENCHMARK_CACHE"]
    processes = [
        context.Process(target=work, args=(paths[rank::cores], cache_dir, ready, finished)) for rank in range(cores)
    ]
    for process in processes:
        process.start()
    events = sorted(event for _ in processes for event in finished.get())
    for process in processes:
        process.join()
    figures = {
        "images": sum(images for _, images in events),
        "total_s": time.time() - started_s,
        "first_result_s": events[0][0] - started_s,
        "steady_images_per_s": steady_images_per_s(events),
    }
    task.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
