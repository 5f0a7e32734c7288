"""Start the real `pixelmill` command as a user does, kill parts of it, and read what it made with plain pyarrow."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import yaml
from PIL import Image

COMMAND = str(Path(sys.executable).with_name("pixelmill"))
SECONDS_TO_DIE = 30.0
POLL_S = 0.1
PATIENCE_S = 500.0
"""How long anything may take on a machine that others use too; what has to be quick is measured and asserted."""


def pictures(folder: Path, count: int, first: int = 0, size: tuple[int, int] = (96, 72)) -> list[Path]:
    """`count` small JPEGs, no two alike: their number decides the pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_picture(folder / f"{number:05d}.jpg", number, size) for number in range(first, first + count)]


def _picture(path: Path, number: int, size: tuple[int, int]) -> Path:
    coarse_HWC = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(coarse_HWC).resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return path


# The command


@dataclass(frozen=True)
class Home:
    """What one user's runs share: settings cache, temporary folder, environment. Ray's sockets need a short path."""

    folder: Path
    environment: dict[str, str]

    @property
    def temporary(self) -> Path:
        return self.folder / "t"

    def left_behind(self) -> list[str]:
        """Temporary folders of runs; empty when all of them cleaned up."""
        return sorted(path.name for path in self.temporary.glob("pixelmill-*"))


@contextmanager
def home(environment: Mapping[str, str] | None = None) -> Iterator[Home]:
    """A user of their own, with these variables added to the environment."""
    folder = Path(tempfile.mkdtemp(prefix="pm-", dir="/tmp"))
    (folder / "t").mkdir(mode=0o777)
    own = {"XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder / "t"), "COLUMNS": "200"}
    own |= {"RAY_memory_monitor_refresh_ms": "0"}  # others fill this machine's memory, and Ray would kill our workers
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "AWS_ACCESS", "PYTEST"))
    }
    try:
        yield Home(folder, {**inherited, **own, **(environment or {})})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Run:
    """One process of `pixelmill` and everything that it started: they share a session, whoever their parent is."""

    def __init__(
        self,
        home: Home,
        *arguments: str,
        under: Sequence[str] = (),
        command: Sequence[str] = (COMMAND,),
        **options: Any,
    ) -> None:
        """`under` is a program that starts the command, as `unshare`; `command` is another installation's."""
        self.folder = Path(tempfile.mkdtemp(prefix="run-", dir=home.folder))
        self.started_s = time.monotonic()
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [*under, *command, *arguments],
                env=home.environment,
                stdin=subprocess.DEVNULL,
                **{"stdout": out, "stderr": err, **options},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdout(self) -> str:
        return (self.folder / "out").read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        return (self.folder / "err").read_text(encoding="utf-8", errors="replace")

    def processes(self) -> list[psutil.Process]:
        """All that live, the driver among them; Ray's workers keep the session when their parent dies."""
        return [process for process in psutil.process_iter() if _lives_in(self.pid, process)]

    def find(self, what: str) -> list[psutil.Process]:
        """`raylet`, `gcs_server`, or workers by a word of their title, as `MillActor`."""
        return [process for process in self.processes() if what in _title(process)]

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit code. When it takes too long everything is killed, and the test fails with what was printed."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.destroy()
            raise AssertionError(f"still running after {timeout_s:g} s; it printed:\n{self.stderr}") from None

    def wait_until(self, holds: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
        """Poll while the command runs."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert self.process.poll() is None, f"ended with {self.process.returncode} before {what}:\n{self.stderr}"
            assert time.monotonic() < deadline, f"not {what} within {timeout_s:g} s:\n{self.stderr}"
            time.sleep(POLL_S)

    def wait_until_gone(self, timeout_s: float = SECONDS_TO_DIE) -> list[str]:
        """Titles of the processes that outlive the driver by `timeout_s`; none is as it should be."""
        for _ in range(round(timeout_s / POLL_S)):  # not by the clock: the whole machine may have been paused
            if not self.processes():
                return []
            time.sleep(POLL_S)
        return [_title(process) for process in self.processes()]

    def kill(self) -> None:
        """kill -9 of the driver alone."""
        self.process.kill()
        self.process.wait()

    def suspend(self) -> None:
        """SIGSTOP of every process of the session, until none is left that could start another one."""
        while running := [process for process in self.processes() if _is_running(process)]:
            for process in running:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()

    def wake(self) -> None:
        """SIGCONT of every process of the session."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def interrupt(self) -> None:
        """Ctrl-C as a terminal sends it: to the driver's process group."""
        os.killpg(self.pid, signal.SIGINT)

    def destroy(self) -> None:
        """Leave nothing of this run alive, for tests that fail."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()


def _lives_in(session: int, process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False


def _is_running(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() not in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    return False


def _title(process: psutil.Process) -> str:
    """The program's name, or the whole title of a worker, which Ray sets."""
    with suppress(psutil.Error):
        words = process.cmdline() or [process.name()]
        return words[0] if words[0].startswith("ray::") else " ".join(Path(word).name for word in words[:2])
    return ""


@dataclass(frozen=True)
class Ended:
    """A command that is over."""

    code: int
    stdout: str
    stderr: str
    seconds: float


def pixelmill(home: Home, *arguments: str, timeout_s: float = PATIENCE_S, **options: Any) -> Ended:
    """Run the command to its end."""
    with Run(home, *arguments, **options) as run:
        code = run.wait(timeout_s)
        return Ended(code, run.stdout, run.stderr, time.monotonic() - run.started_s)


def embed(model: str = "torchvision:mobilenet_v3_small/random", **options: Any) -> dict[str, Any]:
    return {"embed": {"model": model, **options}}


def job_file(path: Path, source: object, out: object, stages: Sequence[object] | None = None, **run: object) -> str:
    """Write a job file; returns its path."""
    document: dict[str, Any] = {"version": 1, "source": source, "out": out, "stages": list(stages or [embed()])}
    path.write_text(yaml.safe_dump(document | ({"run": run} if run else {}), sort_keys=False), encoding="utf-8")
    return str(path)


# What came out


class Output:
    """An output folder, local or on the S3 server behind `environment`, read with pyarrow alone."""

    def __init__(self, uri: str, environment: Mapping[str, str] | None = None) -> None:
        if uri.startswith("s3://"):
            assert environment is not None
            endpoint = urlsplit(environment["AWS_ENDPOINT_URL"])
            self._fs: pafs.FileSystem = pafs.S3FileSystem(
                access_key=environment["AWS_ACCESS_KEY_ID"],
                secret_key=environment["AWS_SECRET_ACCESS_KEY"],
                endpoint_override=endpoint.netloc,
                scheme=endpoint.scheme,
                region=environment["AWS_DEFAULT_REGION"],
            )
        else:
            self._fs = pafs.LocalFileSystem()
        self._root = uri.removeprefix("s3://").rstrip("/")

    def files(self, below: str = "") -> list[str]:
        """The names of all files below a folder, relative to the output."""
        selector = pafs.FileSelector(f"{self._root}/{below}".rstrip("/"), recursive=True, allow_not_found=True)
        found = [info.path for info in self._fs.get_file_info(selector) if info.type == pafs.FileType.File]
        return sorted(path.removeprefix(f"{self._root}/") for path in found)

    def read(self, name: str) -> bytes:
        with self._fs.open_input_file(f"{self._root}/{name}") as file:
            return file.read()

    def contents(self, *but: str) -> dict[str, str]:
        """The digest of every file but those whose names begin with one of `but`."""
        names = [name for name in self.files() if not name.startswith(but)]
        return {name: hashlib.sha256(self.read(name)).hexdigest() for name in names}

    def published(self, *but: str) -> dict[str, str]:
        """`contents` without what a worker that was ended had half written, which the next attempt removes."""
        return {name: digest for name, digest in self.contents(*but).items() if not name.endswith(".tmp")}

    def copy_to(self, folder: Path) -> Path:
        """All files, below a local folder."""
        for name in self.files():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(self.read(name))
        return folder

    def table(self, folder: str) -> pa.Table:
        """All Parquet files of a folder as one table."""
        tables = [
            pq.read_table(io.BytesIO(self.read(name))) for name in self.files(folder) if name.endswith(".parquet")
        ]
        return pa.concat_tables(tables) if tables else pa.table({"id": [], "uri": []})

    def finished_uris(self) -> set[str]:
        """What must never be fetched again: the rows of every part that was published, finished or filed."""
        parts = [name.removeprefix("data/") for name in self.files("data") if name.endswith(".parquet")]
        filed = set(self.files("failed"))
        names = [f"data/{name}" for name in parts] + [f"failed/{name}" for name in parts if f"failed/{name}" in filed]
        tables = [pq.read_table(io.BytesIO(self.read(name)), columns=["uri"]) for name in names]
        return {uri for table in tables for uri in table["uri"].to_pylist()}

    def listed_ids(self) -> list[str]:
        """The ids of the manifest, by the files that its segments name; without what was listed a second time."""
        segments = [json.loads(self.read(name)) for name in self.files("_run/manifest") if name.endswith(".json")]
        found: list[str] = []
        for each in segments:
            prefix = f"_run/manifest/{each['number']:06d}-" + (f"{each['writer']}-" if each.get("writer") else "")
            for file in range(len(each["file_rows"])):
                ids = pq.read_table(io.BytesIO(self.read(f"{prefix}{file:04d}.parquet")))["id"].to_pylist()
                found += [] if each.get("supersedes") and set(ids) <= set(found) else ids
        return found

    def failed_uris(self) -> set[str]:
        return set(self.table("failed")["uri"].to_pylist())  # pyright: ignore[reportReturnType]

    def parts(self) -> int:
        return len(self.files("data"))


def assert_every_input_in_one_row(output: Output, *, inputs: int, vector: str | None = "embedding") -> Counter[str]:
    """Law 1, from the files alone: manifest = data + failed, no id twice, _SUCCESS there. Gives the error types.

    What a retry does once more is listed once more; its id counts once.
    """
    listed = output.listed_ids()
    data, failed = output.table("data"), output.table("failed")
    found = Counter(data["id"].to_pylist()) + Counter(failed["id"].to_pylist())
    assert len(listed) == len(set(listed)) == inputs
    assert found == Counter(listed)
    assert data[vector].null_count == 0 if data.num_rows and vector is not None else True
    assert "_SUCCESS" in output.files()
    return Counter(failed["error_type"].to_pylist()) if failed.num_rows else Counter()


def id_of(uri: str, member: str | None = None) -> str:
    """The id that a row must have, by the documentation alone: BLAKE2b of uri, and of member behind a zero byte."""
    key = uri if member is None else f"{uri}\0{member}"
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


# Other readers

READERS = {
    "duckdb": "import duckdb; rows = duckdb.sql(\"select id, embedding from '{data}/*.parquet'\").fetchall()",
    "polars": "import polars; rows = polars.read_parquet('{data}/*.parquet').select('id', 'embedding').rows()",
    "pandas": "import pandas; t = pandas.read_parquet('{data}'); rows = list(zip(t['id'], t['embedding']))",
    "datasets": "import datasets; t = datasets.load_dataset('parquet', data_files='{data}/*.parquet', split='train'); "
    "rows = list(zip(t['id'], t['embedding']))",
}
_PRINT = """
import json, sys
assert not {'pipelines', 'workers', 'jobs', 'ray'} & set(sys.modules)
print(json.dumps({id: [float(value) for value in embedding] for id, embedding in rows}))
"""


def read_elsewhere(reader: str, data: Path, scratch: Path) -> dict[str, list[float]]:
    """Embeddings by id as one of READERS sees the Parquet files in `data`, in a process that knows nothing of us."""
    script = READERS[reader].format(data=data) + _PRINT
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(scratch / "hf"), "HOME": str(scratch)}
    command = [sys.executable, "-I", "-W", "ignore", "-c", script]
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
