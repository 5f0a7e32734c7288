"""What the tests of the command share: a user, and one finished job over every kind of source in S3."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from pixelmill.workers.models.model_names import DEFAULT_MODEL
from pixelmill.workers.models.zoo import ZOO
from tests.servers.gateway import Gateway
from tests.support import Ended, Home, Output, embed, home, job_file, pictures, pixelmill

BUCKET = "mixed"
Expected = dict[tuple[str, str | None], str]


@dataclass(frozen=True)
class Mixed:
    """A finished job over a tar shard, a Parquet table, a list and a folder of odd names; not to be changed."""

    user: Home
    job: str
    run: Ended
    expected: Expected
    output: Output
    copy: Path

    @property
    def out(self) -> str:
        return f"s3://{BUCKET}/out"


@pytest.fixture(scope="session")
def user() -> Iterator[Home]:
    with home() as user:
        yield user


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of 48 small pictures."""
    folder = tmp_path_factory.mktemp("photos")
    pictures(folder, 48, size=(16, 16))
    return str(folder)


@pytest.fixture(scope="session")
def s3_user(gateway: Gateway) -> Iterator[Home]:
    with home(gateway.env) as user:
        yield user


@pytest.fixture(scope="session")
def mixed(gateway: Gateway, s3_user: Home) -> Mixed:
    gateway.make_bucket(BUCKET)
    expected = fill_bucket(gateway, [path.read_bytes() for path in pictures(s3_user.folder / "pictures", 40)])
    below = [f"s3://${{BUCKET}}/{name}" for name in ("shards", "table.parquet", "list.csv", "folder")]
    s3_user.environment["BUCKET"] = BUCKET
    model = str(model_file(s3_user.folder / "models"))
    job = job_file(s3_user.folder / "job.yaml", below, f"s3://{BUCKET}/out", [embed(model)])
    run = pixelmill(s3_user, "run", job)
    output = Output(f"s3://{BUCKET}/out", gateway.env)
    return Mixed(s3_user, job, run, expected, output, output.copy_to(s3_user.folder / "copy"))


def fill_bucket(gateway: Gateway, jpegs: list[bytes]) -> Expected:
    """Upload 40 pictures in four forms, and what no picture is; gives what each of them has to become."""
    at, good = f"s3://{BUCKET}", iter(jpegs)
    members = {f"{number:03d}.jpg": next(good) for number in range(12)}
    gateway.put(BUCKET, "shards/000.tar", tar(members | {"000.txt": b"a caption"}))
    gateway.put(BUCKET, "shards/notes.md", b"ignored")
    expected: Expected = {(f"{at}/shards/000.tar", name): "good" for name in members}

    cells = [{"bytes": next(good), "path": None} for _ in range(10)] + [None]
    sink = io.BytesIO()
    pq.write_table(pa.table({"label": range(11), "image": cells}), sink, row_group_size=4)
    gateway.put(BUCKET, "table.parquet", sink.getvalue())
    expected |= {(f"{at}/table.parquet", f"row {row}"): "good" if row < 10 else "Empty" for row in range(11)}

    listed = [f"{at}/elsewhere/{number}.jpg" for number in range(8)]
    for uri in listed:
        gateway.put(BUCKET, uri.removeprefix(f"{at}/"), next(good))
    lines = ["url", *listed, listed[0], f"{at}/elsewhere/gone.jpg"]
    gateway.put(BUCKET, "list.csv", "\n".join(lines).encode())
    expected |= dict.fromkeys(((uri, None) for uri in listed), "good")
    expected[f"{at}/elsewhere/gone.jpg", None] = "NotFound"

    for name in (
        "plain.jpg",
        "a space.JPG",
        "\u00e9t\u00e9 \U0001f431.jpg",
        "per%20cent.jpg",
        "plus+and&?#.jpg",
        "sub/x.jpeg",
    ):
        gateway.put(BUCKET, f"folder/{name}", next(good))
        expected[f"{at}/folder/{name}", None] = "good"
    return expected


def tar(members: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def model_file(folder: Path) -> Path:
    """The network that ships, as a user's own file."""
    folder.mkdir(exist_ok=True)
    for suffix in (".safetensors", ".json"):
        shutil.copy(ZOO / f"{DEFAULT_MODEL}{suffix}", folder / f"mine{suffix}")
    return folder / "mine.safetensors"


def train_on(model: Path) -> None:
    """Give the file other weights under its old name, as another epoch of training does."""
    save_file({name: values * 1.001 for name, values in load_file(model).items()}, model)
