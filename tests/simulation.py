"""Drivers over one store in memory, whose every call is a moment at which they may be suspended, killed, or overtaken.

A driver is a thread that stops before each call of the store until it is let go, so that a test decides who does what next.
The store speaks three dialects: it honours conditional writes, refuses them, or ignores them and overwrites.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest

from pixelmill.pipelines.outputs import accounting, claims, repair
from pixelmill.pipelines.outputs.claims import Claim, Holder
from pixelmill.pipelines.stores import folder as folder_module
from pixelmill.pipelines.stores import s3, whole_files
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder

Dialect = Literal["conditional", "refusing", "ignoring"]
ROOT = "bucket/out"
PATIENCE_S = 60.0


class Killed(BaseException):
    """The process is gone: nothing of it is executed any more."""


class ServerError(Exception):
    """What an S3 server answers, as botocore reports it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


class World:
    """The objects of a store, the time, and the drivers."""

    def __init__(self, dialect: Dialect, *, is_death_provable: bool, makes_many: bool) -> None:
        self.dialect, self.is_death_provable, self.makes_many = dialect, is_death_provable, makes_many
        self.objects: dict[str, bytes] = {}
        self.now = 0.0
        self.drivers: list[Driver] = []
        self.turn = threading.Semaphore(0)

    def start(self, program: Callable[[Driver], None]) -> Driver:
        driver = Driver(self, len(self.drivers), program)
        self.drivers.append(driver)
        driver.thread.start()
        self._wait()
        return driver

    def step(self, driver: Driver) -> None:
        """Let a driver do one call of the store."""
        if driver.is_alive:
            driver.go.release()
            self._wait()

    def kill(self, driver: Driver) -> None:
        if driver.is_alive:
            driver.is_killed = True
            self.step(driver)

    def _wait(self) -> None:
        assert self.turn.acquire(timeout=PATIENCE_S), "a driver waits for something other than the store"

    def is_gone(self, holder: Holder) -> bool:
        return self.is_death_provable and not self.drivers[holder["pid"]].is_alive

    def read(self, name: str) -> bytes | None:
        """What an outsider sees."""
        return self.objects.get(f"{ROOT}/{name}")


class Driver:
    """One process at work on the run."""

    def __init__(self, world: World, number: int, program: Callable[[Driver], None]) -> None:
        self.world, self.number = world, number
        self.go = threading.Semaphore(0)
        self.is_alive, self.is_killed = True, False
        self.error: BaseException | None = None
        self.claim: Claim | None = None
        self.has_succeeded = False
        self.will_write = ""
        self.thread = threading.Thread(target=self._live, args=(program,), daemon=True)

    def _live(self, program: Callable[[Driver], None]) -> None:
        try:
            self.pause()
            program(self)
        except BaseException as error:
            self.error = error
        self.is_alive = False
        self.world.turn.release()

    def pause(self, writes: str = "") -> None:
        """The world goes on, and this driver when it is let go, if it still lives. `writes` names what it will write."""
        if not self.is_killed:
            self.will_write = writes
            self.world.turn.release()
            self.go.acquire()
        if self.is_killed:
            raise Killed
        if self.claim is not None:  # the thread that beats lives as long as the driver does
            beat = f"{ROOT}/{self.claim.folder}/{claims.BEAT}"
            self.world.objects[beat] = str(int(self.world.objects.get(beat, b"0")) + 1).encode()

    # As a clock

    def monotonic(self) -> float:
        return self.world.now

    def wait(self, seconds: float) -> None:
        self.pause()
        self.world.now += seconds

    # As the holder of a claim

    def folder(self) -> Folder:
        return Folder(f"memory-{self.number}://{ROOT}", Access(retry_for_s=0))

    def require(self) -> None:
        assert self.claim is not None
        folder = self.folder_in_use
        if not self.claim.is_fenced:
            self.wait(claims.SETTLE_S)
        claims.require(folder, self.claim)

    def follows_unknown(self, since: int) -> bool:
        assert self.claim is not None
        return claims.may_wake(self.folder_in_use, self.claim, since, self.world.is_gone)

    folder_in_use: Folder


class Store:
    """The store as one driver reaches it, with as much of fsspec and s3fs as Folder uses."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def _objects(self) -> dict[str, bytes]:
        self._driver.pause()
        return self._driver.world.objects

    def _objects_to_write(self, path: str) -> dict[str, bytes]:
        self._driver.pause(path.removeprefix(f"{ROOT}/"))
        return self._driver.world.objects

    def invalidate_cache(self, path: str | None = None) -> None:
        pass

    def cat_file(self, path: str) -> bytes:
        try:
            return self._objects[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def pipe_file(self, path: str, data: bytes) -> None:
        self._objects_to_write(path)[path] = data

    def exists(self, path: str) -> bool:
        return path in self._objects

    def rm_file(self, path: str) -> None:
        self._objects_to_write(path).pop(path, None)

    def open(self, path: str, mode: str = "rb", **options: Any) -> io.BytesIO:
        return io.BytesIO(self.cat_file(path))

    def ls(self, path: str, detail: bool = True) -> list[dict[str, Any]]:
        below = [name.removeprefix(f"{path}/") for name in self._objects if name.startswith(f"{path}/")]
        files = [{"name": f"{path}/{name}", "type": "file"} for name in below if "/" not in name]
        folders = sorted({name.partition("/")[0] for name in below if "/" in name})
        return files + [{"name": f"{path}/{name}", "type": "directory"} for name in folders]

    def call_s3(self, method: str, *, Bucket: str, Key: str, **options: Any) -> dict[str, Any]:
        path = f"{Bucket}/{Key}"
        objects = self._objects if method == "get_object" else self._objects_to_write(path)
        if method == "get_object":
            if path not in objects:
                raise FileNotFoundError(path)
            return {"Body": objects[path], "ETag": _etag(objects[path])}
        conditions = options.keys() & {"IfNoneMatch", "IfMatch"}
        dialect = self._driver.world.dialect
        if conditions and dialect == "refusing":
            raise ServerError(501)
        if conditions and dialect == "conditional":
            there = objects.get(path)
            if ("IfNoneMatch" in options and there is not None) or (
                "IfMatch" in options and (there is None or _etag(there) != options["IfMatch"])
            ):
                raise ServerError(412)
        objects[path] = options["Body"]
        return {}


def _read(store: Any, path: str, most_bytes: int) -> tuple[bytes, str]:
    """`read_s3` of a store whose bodies are bytes: one request too."""
    bucket, _, key = path.partition("/")
    answer = store.call_s3("get_object", Bucket=bucket, Key=key)
    return answer["Body"], answer["ETag"]


def _etag(data: bytes) -> str:
    return f'"{hash(data):x}"'


class Serial:
    """One thread in the place of a pool, since a driver is one thread here."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, work: Callable[..., Any], *items: Any) -> Iterator[Any]:
        return map(work, *items)


@contextmanager
def world(dialect: Dialect, *, is_death_provable: bool, makes_many: bool = False) -> Iterator[World]:
    """A world whose leases are short; drivers that are left over die at the end. `makes_many` rows of an input, or one."""
    made = World(dialect, is_death_provable=is_death_provable, makes_many=makes_many)

    def open_store(uri: str, access: Access) -> tuple[Store, str]:
        scheme, _, path = uri.partition("://")
        return Store(made.drivers[int(scheme.removeprefix("memory-"))]), path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_module, "open_store", open_store)
        patch.setattr(folder_module, "scheme_of", lambda uri: "s3")
        for module in (s3, whole_files):
            patch.setattr(module, "read_s3", _read)
        for module in (accounting, repair):
            patch.setattr(module, "ThreadPoolExecutor", Serial)
        for name, seconds in (("LEASE_S", 3.0), ("POLL_S", 1.0), ("SETTLE_S", 2.0)):
            patch.setattr(claims, name, seconds)
        try:
            yield made
        finally:
            for driver in made.drivers:
                made.kill(driver)


def holder(driver: Driver) -> dict[str, Any]:
    """What a claim says of a driver."""
    return {"pid": driver.number, "host": "simulated"}


def record(driver: Driver, ended: str) -> None:
    """End an attempt in order."""
    assert driver.claim is not None
    driver.folder_in_use.create(f"{driver.claim.folder}/{claims.RECORD}", json.dumps({"ended": ended}).encode())
