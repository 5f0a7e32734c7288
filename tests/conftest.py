"""What tests share: a machine without credentials, an S3 server for the session, and the rights of nobody."""

from __future__ import annotations

import os
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

# Before torch is imported: the suite shares its cores, and sums must not depend on how many there are.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
import s3fs

from pixelmill.pipelines.stores import access
from tests.installation import Installation, Kind, build_wheel, copy_of_the_tree, install
from tests.servers.gateway import Gateway
from tests.servers.moto import Moto
from tests.shared_data import SHARED_DATA

AWS_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL")

Reach = Callable[[dict[str, str]], None]
AsNobody = Callable[[], AbstractContextManager[None]]


def pytest_configure() -> None:
    """Ctrl-C ends what the tests start, even where a shell runs them in the background, for which it is ignored. No test has a
    deadline."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A law holds or it does not, however busy the machine is.
    hypothesis.settings.register_profile("laws", deadline=None)
    hypothesis.settings.load_profile("laws")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that are marked `shared_data` are skipped where the development data set does not lie beside the checkout."""
    if SHARED_DATA.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared_data") is not None:
            item.add_marker(pytest.mark.skip(reason="needs shared/data beside the checkout"))


@pytest.fixture(autouse=True, scope="session")
def no_credentials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the credentials, the profiles or the metadata service of the machine that it runs on."""
    nowhere = tmp_path_factory.mktemp("aws")
    with pytest.MonkeyPatch.context() as patch:
        for name in AWS_VARIABLES:
            patch.delenv(name, raising=False)
        patch.setenv("AWS_CONFIG_FILE", str(nowhere / "config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere / "credentials"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    """One S3 server for the session; each test makes a bucket of its own."""
    with Gateway() as gateway:
        yield gateway


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    """One S3 server for the session that honours conditional writes."""
    with Moto() as moto:
        yield moto


@pytest.fixture
def reach(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reach]:
    """`reach(env)` puts a store's address and credentials into the environment, and forgets the clients of another."""

    def set_environment(env: dict[str, str]) -> None:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        _forget_clients()

    yield set_environment
    _forget_clients()


@pytest.fixture
def s3(gateway: Gateway, reach: Reach) -> Gateway:
    """The session's S3 server, reached as a user reaches one: through the environment."""
    reach(gateway.env)
    return gateway


def _forget_clients() -> None:
    access.filesystem.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def as_nobody() -> AsNobody:
    """`with as_nobody():` runs without the privileges of root, for whom no folder is unreadable or read-only."""

    @contextmanager
    def without_privileges() -> Iterator[None]:
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            yield
        finally:
            if is_root:
                os.seteuid(0)

    return without_privileges


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return build_wheel(copy_of_the_tree(tmp_path_factory.mktemp("tree")), tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def installations(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Installation]:
    """Environments with pixelmill installed in both ways."""
    tree = copy_of_the_tree(tmp_path_factory.mktemp("checkout"))
    return {
        "wheel": install(wheel, tmp_path_factory.mktemp("wheel") / "venv"),
        "editable": install(tree, tmp_path_factory.mktemp("editable") / "venv"),
    }


@pytest.fixture
def common_folder() -> Iterator[Path]:
    """A temporary folder that every user may enter and write to, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="pixelmill-test-") as name:
        Path(name).chmod(0o777)
        yield Path(name)
        for folder, _, _ in os.walk(name):
            os.chmod(folder, stat.S_IRWXU)
