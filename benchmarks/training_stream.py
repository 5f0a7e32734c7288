"""Train on large pictures in an S3 store: memory of every process, pictures a second, and weights after kill -9.

    python -m benchmarks.training_stream [--pictures 30000] [--files 300] [--steps 400] [--workers 1]

A list names `--pictures` keys, which repeat `--files` generated JPEGs of 2 megapixels behind the S3 gateway. VDSR is trained
on it once without a break, and once killed with -9 and resumed; neither run caches samples
(run.cache_gb = 0). The weights must be equal bit for bit.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from safetensors.torch import load_file

from benchmarks.throughput import RESULTS
from tests.servers.gateway import Gateway
from tests.support import Home, Run, home

SIZE_WH = (1632, 1224)
SETTINGS = ["depth=4", "width=16", "batch=16", "learning_rate=0.01", "hold_out=0"]
RUN = {"threads": 1, "cache_gb": 0, "cache_disk_gb": 0, "checkpoint_every_s": 5, "log_every_steps": 5}
BUCKET = "pictures"
SECONDS_TO_TRAIN = 7200


def put_pictures(gateway: Gateway, files: int, pictures: int) -> str:
    """Upload `files` pictures and a list that names one of them `pictures` times in all; returns the list's URI."""
    gateway.make_bucket(BUCKET)
    with tempfile.TemporaryDirectory(prefix="pmt-") as folder:
        for number in range(files):
            random = np.random.default_rng(number)
            coarse = Image.fromarray(random.integers(0, 256, (60, 80, 3), np.uint8))
            coarse.resize(SIZE_WH, Image.Resampling.BICUBIC).save(Path(folder, f"{number:05d}.jpg"), quality=88)
        gateway.put_folder(BUCKET, "files", Path(folder))
    lines = [f"s3://{BUCKET}/files/{number % files:05d}.jpg" for number in range(pictures)]
    gateway.put(BUCKET, "list.txt", "\n".join(lines).encode())
    return f"s3://{BUCKET}/list.txt"


class Watch:
    """The peak memory of the processes of a run, by their kind."""

    def __init__(self) -> None:
        self.peak_bytes: defaultdict[str, int] = defaultdict(int)

    def __call__(self, run: Run) -> bool:
        for process in run.processes():
            with suppress(psutil.Error):
                kind = kind_of(" ".join(process.cmdline()))
                self.peak_bytes[kind] = max(self.peak_bytes[kind], process.memory_info().rss)
        return False


def kind_of(title: str) -> str:
    """What a process is, from the title that Ray gives it."""
    if "decode_task" in title:
        return "task that decodes"
    if "RayTrainWorker" in title:
        return "worker"
    return "driver" if "pixelmill" in title and "ray" not in title else "Ray's own"


def arguments(data: str, out: Path, steps: int, workers: int) -> list[str]:
    keys = {**RUN, "workers": workers}
    chosen = [*SETTINGS, f"steps={steps}", *(f"run.{key}={value}" for key, value in keys.items())]
    return ["train", "vdsr", "--data", data, "--out", str(out), *(w for each in chosen for w in ("--set", each))]


def trained(user: Home, words: list[str], out: Path, *, kill_at: int | None, watch: Watch) -> float:
    """Train to the end; returns the seconds. With `kill_at` all processes are killed once a checkpoint is beyond it."""
    began_s = time.monotonic()
    with Run(user, *words) as run:
        while run.process.poll() is None and time.monotonic() - began_s < SECONDS_TO_TRAIN:
            watch(run)
            if kill_at is not None and step_of(out) >= kill_at:
                run.destroy()
                break
            time.sleep(0.3)
        if kill_at is None and run.wait(1) != 0:
            raise SystemExit(run.stderr)
    return time.monotonic() - began_s


def step_of(out: Path) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    with suppress(OSError, ValueError):
        return int(json.loads((out / "_run/last.json").read_text())["step"])
    return 0


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / json.loads((out / "_run/last.json").read_text())["folder"] / "model.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=30_000)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    figures: dict[str, Any] = vars(options)
    with Gateway() as gateway, home(gateway.env) as user:
        data = put_pictures(gateway, options.files, options.pictures)
        whole, killed, watch = user.folder / "whole", user.folder / "killed", Watch()
        whole_s = trained(
            user, arguments(data, whole, options.steps, options.workers), whole, kill_at=None, watch=watch
        )
        words = arguments(data, killed, options.steps, options.workers)
        trained(user, words, killed, kill_at=options.steps // 3, watch=watch)
        figures["killed at step"] = step_of(killed)
        trained(user, words, killed, kill_at=None, watch=watch)
        first, second = weights(whole), weights(killed)
        figures["equal weights"] = all(torch.equal(first[name], second[name]) for name in first)
        figures["trained_s"] = float(json.loads((whole / "card.json").read_text())["metrics"]["trained_s"])
    figures["whole_s"] = round(whole_s, 1)
    figures["pictures/s"] = round(options.steps * 16 / figures["trained_s"], 1)
    figures["peak MB"] = {kind: round(peak / 1e6) for kind, peak in sorted(watch.peak_bytes.items())}
    print(re.sub(r"[{}\"]", "", json.dumps(figures, indent=1)))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "training_stream.json").write_text(json.dumps(figures, indent=1))
    if not figures["equal weights"]:
        raise SystemExit("the weights after kill -9 are others")


if __name__ == "__main__":
    main()
