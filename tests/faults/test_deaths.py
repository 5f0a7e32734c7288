"""Law 9 with the real command: an input that kills its worker, or holds it up, costs one row and not the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Ended, Home, Output, assert_every_input_in_one_row, home, job_file, pictures, pixelmill

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

ROWS = 60
KILLS, HANGS, GRIPS = b"<kills its worker>", b"<never ends>", b"<never ends, and keeps the lock>"
"""Behind the end of a JPEG, where no decoder looks but the one below."""

PATCHING = """
import importlib.abc, importlib.util, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if not name.endswith("MODULE"):
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (run(module), patch(module))
        return spec

sys.meta_path.insert(0, Finder())
"""


def patching(module: str, patch: str) -> str:
    """A sitecustomize that calls `patch` of this source with a module as soon as it is imported, in every process."""
    return patch + PATCHING.replace("MODULE", module)


DECODER = f"""
import ctypes, os, signal, time

def patch(module):
    for name in ("decode_picture", "decode_reduced"):
        setattr(module, name, dangerous(getattr(module, name)))

def dangerous(decode):
    def decoded(data, *args, **options):
        if {KILLS!r} in data:
            os.kill(os.getpid(), signal.SIGKILL)
        if {HANGS!r} in data:
            time.sleep(10_000)
        if {GRIPS!r} in data:
            ctypes.PyDLL(None).sleep(10_000)
        return decode(data, *args, **options)
    return decoded
"""


@pytest.fixture
def user() -> Iterator[Home]:
    """Somebody whose decoder has the faults that some files trigger."""
    with home() as user:
        (user.folder / "sitecustomize.py").write_text(patching("pixelmill.workers.codecs.decode", DECODER))
        user.environment["PYTHONPATH"] = f"{user.folder}:{user.environment.get('PYTHONPATH', '')}"
        yield user


def mill(user: Home, tmp_path: Path, deadly: dict[int, bytes], **run: object) -> Ended:
    """Mill ROWS pictures, of which some are deadly."""
    for number, path in enumerate(pictures(tmp_path / "in", ROWS)):
        path.write_bytes(path.read_bytes() + deadly.get(number, b""))
    settings: dict[str, Any] = {"actors": 2, "max_failed_fraction": 1.0} | run
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), str(tmp_path / "out"), **settings)
    return pixelmill(user, "run", job)


def assert_only_these_failed(tmp_path: Path, ended: Ended, deadly: dict[int, bytes]) -> Output:
    assert ended.code == 3, ended.stderr
    output = Output(str(tmp_path / "out"))
    assert assert_every_input_in_one_row(output, inputs=ROWS) == {"KilledWorker": len(deadly)}
    failed = output.table("failed")
    assert {Path(str(uri)).name for uri in failed["uri"].to_pylist()} == {f"{number:05d}.jpg" for number in deadly}
    assert set(failed["stage"].to_pylist()) == {"worker"}
    parts = {name.removeprefix("data/") for name in output.files("data")}
    segments = [json.loads(output.read(n)) for n in output.files("_run/manifest") if n.endswith(".json")]
    assert len(parts) == sum(len(segment["part_rows"]) for segment in segments)
    return output


@pytest.mark.parametrize(
    ("deadly", "decode_threads"),
    [
        pytest.param({17: KILLS}, 0, id="one"),
        pytest.param({17: KILLS}, 2, id="one, decoded on a thread", marks=pytest.mark.slow),
        pytest.param({0: KILLS, 32: KILLS}, 0, id="two", marks=pytest.mark.slow),
        pytest.param({0: KILLS, 32: KILLS}, 2, id="two, decoded on threads", marks=pytest.mark.slow),
    ],
)
def test_a_picture_that_kills_its_worker_costs_one_row(
    user: Home, tmp_path: Path, deadly: dict[int, bytes], decode_threads: int
) -> None:
    ended = mill(user, tmp_path, deadly, decode_threads=decode_threads)
    output = assert_only_these_failed(tmp_path, ended, deadly)
    assert "pixelmill retry" in output.table("failed")["error"][0].as_py()
    assert ended.stderr.count("a worker died while it did part-") >= 4, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("how", [pytest.param(HANGS, id="waits"), pytest.param(GRIPS, id="keeps the lock")])
def test_a_picture_that_never_ends_costs_one_row(user: Home, tmp_path: Path, how: bytes) -> None:
    deadly = {23: how}
    ended = mill(user, tmp_path, deadly, stall_s=8)
    assert_only_these_failed(tmp_path, ended, deadly)


FAULTY_DEVICE = """
import os

def patch(execution):
    import torch
    call = execution.Executor.__call__
    def faulty(self, images_BCHW):
        left = [name for name in os.listdir(FOLDER) if name.startswith("fault")]
        if left:
            os.unlink(os.path.join(FOLDER, left[0]))
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return call(self, images_BCHW)
    execution.Executor.__call__ = faulty

FOLDER = {folder!r}
"""


@pytest.fixture
def unlucky() -> Iterator[Home]:
    """Somebody whose device fails once for each file `fault*` in a folder."""
    with home() as user:
        (user.folder / "sitecustomize.py").write_text(
            patching("pixelmill.workers.runtime.execution", FAULTY_DEVICE.replace("{folder!r}", repr(str(user.folder))))
        )
        user.environment["PYTHONPATH"] = f"{user.folder}:{user.environment.get('PYTHONPATH', '')}"
        yield user


@pytest.mark.slow
def test_a_device_that_fails_now_and_then_costs_no_row(unlucky: Home, tmp_path: Path) -> None:
    for number in range(2):
        (unlucky.folder / f"fault{number}").touch()
    ended = mill(unlucky, tmp_path, {}, actors=1)
    assert ended.code == 0, ended.stderr
    assert assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=ROWS) == {}
    assert ended.stderr.count("CUDA error: an illegal memory access was encountered") == 2, ended.stderr


@pytest.mark.slow
def test_a_device_that_fails_again_and_again_ends_the_run_with_a_sentence(unlucky: Home, tmp_path: Path) -> None:
    for number in range(99):
        (unlucky.folder / f"fault{number}").touch()
    ended = mill(unlucky, tmp_path, {}, actors=1)
    assert ended.code == 1, ended.stderr
    assert "the device failed 3 times in a row" in " ".join(ended.stderr.splitlines()[-3:]), ended.stderr
    assert "Traceback" not in ended.stderr
    assert Output(str(tmp_path / "out")).table("failed").num_rows == 0
