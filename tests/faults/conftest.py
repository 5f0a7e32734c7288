"""What the fault tests share: a bucket behind a proxy that counts and fails, and a user who mills it."""

from __future__ import annotations

import random
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import s3fs

from tests.servers.faulty_proxy import FaultyProxy
from tests.servers.gateway import Gateway
from tests.support import Home, Output, Run, home, pictures

MODEL = "torchvision:resnet18/random"


@dataclass
class Mine:
    """A bucket with pictures under in/, milled through a proxy; outputs are read past the proxy."""

    gateway: Gateway
    proxy: FaultyProxy
    home: Home
    bucket: str
    out: str
    uris: list[str] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    @property
    def source(self) -> str:
        return f"s3://{self.bucket}/in"

    @property
    def output(self) -> Output:
        return Output(self.out, self.gateway.env)

    def put(self, name: str, data: bytes) -> str:
        self.gateway.put(self.bucket, f"in/{name}", data)
        uri = f"{self.source}/{name}"
        self.uris = list(dict.fromkeys([*self.uris, uri]))
        return uri

    def fill(self, count: int, first: int = 0) -> list[str]:
        """Upload `count` pictures."""
        with tempfile.TemporaryDirectory() as folder:
            made = pictures(Path(folder), count, first)
            self.gateway.put_folder(self.bucket, "in", Path(folder))
        uris = [f"{self.source}/{path.name}" for path in made]
        self.uris += uris
        return uris

    def remove(self, uri: str) -> None:
        env = self.gateway.env
        secrets = {"key": env["AWS_ACCESS_KEY_ID"], "secret": env["AWS_SECRET_ACCESS_KEY"]}
        s3fs.S3FileSystem(**secrets, endpoint_url=env["AWS_ENDPOINT_URL"]).rm_file(uri)
        self.uris.remove(uri)

    def new_output(self) -> None:
        self.out = f"s3://{self.bucket}/out-{uuid.uuid4().hex[:8]}"
        self._counts.clear()

    def start(self, *settings: str) -> Run:
        return Run(self.home, *self.command(*settings))

    def command(self, *settings: str) -> list[str]:
        overrides = [word for setting in settings for word in ("--set", setting)]
        return ["embed", self.source, self.out, "--model", MODEL, *overrides]

    def gets(self, uri: str) -> int:
        return self.proxy.gets[uri.removeprefix("s3://")]

    def seal(self) -> int:
        """From here on no row that is finished now may be fetched; call it when nothing runs. Gives their number."""
        finished = self.output.finished_uris()
        for uri in finished:
            self._counts.setdefault(uri, self.gets(uri))
        return len(finished)

    def fetched_again(self) -> dict[str, tuple[int, int]]:
        """Objects that were fetched after their row was finished: GETs then and now."""
        return {uri: (count, self.gets(uri)) for uri, count in self._counts.items() if self.gets(uri) != count}


@pytest.fixture
def user(gateway: Gateway) -> Iterator[Home]:
    with home() as user:
        yield user


@pytest.fixture
def mine(gateway: Gateway, user: Home) -> Iterator[Mine]:
    """An empty bucket of its own."""
    bucket = f"faults-{uuid.uuid4().hex[:8]}"
    gateway.make_bucket(bucket)
    with FaultyProxy(gateway) as proxy:
        user.environment.update(proxy.env)
        yield Mine(gateway, proxy, user, bucket, f"s3://{bucket}/out")


def moments(kind: str, count: int, longest_s: float) -> Iterator[float]:
    """The same random moments for the same kind of kill, in seconds."""
    draw = random.Random(kind)
    return (draw.uniform(0, longest_s) for _ in range(count))
