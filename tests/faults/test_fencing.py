"""Law 6 with real processes: a command is suspended at a named moment, another one completes the run, the first wakes up.

tests/faults/suspension stops one process of the first command at a write; here the rest of its session is suspended too.
What one process can't show, every order of calls, tests/faults/test_exactly_once.py tries in a simulation.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import MODEL, Mine
from tests.faults.suspended import CLOCK, SUSPENSION, TIMES, Moment, decided
from tests.servers.faulty_proxy import FaultyProxy
from tests.servers.gateway import Gateway
from tests.support import SECONDS_TO_DIE, Home, Output, Run, assert_every_input_in_one_row, home, pictures, pixelmill

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

LONG_LEASE = {**TIMES, "LEASE_S": 300.0}
TRUNCATED = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
ROWS, BROKEN, NEW = 24, 3, 2


@dataclass
class Local:
    """A folder with pictures, milled into another one; as `Mine`, but what is fetched can't be counted."""

    folder: Path
    home: Home
    out: str

    @property
    def source(self) -> str:
        return str(self.folder / "in")

    @property
    def output(self) -> Output:
        return Output(self.out)

    def fill(self, count: int, first: int = 0) -> list[str]:
        return [str(path) for path in pictures(self.folder / "in", count, first)]

    def put(self, name: str, data: bytes) -> str:
        (self.folder / "in" / name).write_bytes(data)
        return f"{self.source}/{name}"

    def command(self, *settings: str) -> list[str]:
        overrides = [word for setting in settings for word in ("--set", setting)]
        return ["embed", self.source, self.out, "--model", MODEL, *overrides]

    def seal(self) -> int:
        return 0

    def fetched_again(self) -> dict[str, tuple[int, int]]:
        return {}


@pytest.fixture(scope="module")
def settled() -> Iterator[Home]:
    """One user for all tests, so that the fastest settings are searched for once."""
    with home() as user:
        yield user


@pytest.fixture
def local(settled: Home, tmp_path: Path) -> Local:
    return Local(tmp_path, settled, str(tmp_path / "out"))


def behind_proxy(server: Gateway, user: Home) -> Iterator[Mine]:
    bucket = f"fencing-{uuid.uuid4().hex[:8]}"
    server.make_bucket(bucket)
    with FaultyProxy(server) as proxy:
        yield Mine(server, proxy, replace(user, environment=user.environment | proxy.env), bucket, f"s3://{bucket}/out")


@pytest.fixture
def honouring(moto: Gateway, settled: Home) -> Iterator[Mine]:
    """A bucket of a server that honours conditional writes."""
    yield from behind_proxy(moto, settled)


@pytest.fixture
def ignoring(gateway: Gateway, settled: Home) -> Iterator[Mine]:
    """A bucket of a server that ignores conditions and overwrites."""
    yield from behind_proxy(gateway, settled)


# Drivers


def user_of(mine: Local | Mine, times: dict[str, float] = TIMES, **variables: str) -> Home:
    """The user of `mine`, with leases of a few seconds."""
    python_path = os.pathsep.join(filter(None, [str(SUSPENSION), mine.home.environment.get("PYTHONPATH")]))
    hooks = {"PYTHONPATH": python_path, "PIXELMILL_TEST_TIMES": json.dumps(times)}
    return replace(mine.home, environment=mine.home.environment | hooks | variables)


@contextmanager
def asleep(
    mine: Local | Mine,
    moment: Moment,
    command: list[str],
    times: dict[str, float] = TIMES,
    variables: dict[str, str] | None = None,
    **options: Any,
) -> Iterator[Run]:
    """The command, with all its processes suspended at the moment."""
    marker = mine.home.folder / f"suspended-{uuid.uuid4().hex}"
    with Run(user_of(mine, times, **moment.variable(marker), **(variables or {})), *command, **options) as run:
        run.wait_until(marker.exists, f"it was {moment.when} {moment.file}")
        run.suspend()
        yield run


def completes(mine: Local | Mine, *command: str, times: dict[str, float] = TIMES) -> str:
    """Another command does everything there is to do; what it said."""
    ended = pixelmill(user_of(mine, times), *command)
    assert ended.code in {0, 3}, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def assert_ends_by_itself(run: Run) -> None:
    """It found everything done, or says in one sentence that another one has taken over."""
    run.wake()
    code = run.wait()
    assert code in {0, 1, 3}, run.stderr
    assert code != 1 or "has taken over since" in run.stderr.splitlines()[-1], run.stderr
    assert "Traceback" not in run.stderr
    assert (
        run.wait_until_gone(4 * SECONDS_TO_DIE) == []
    )  # agents of a raylet that did not survive notice it in a minute


def fill(mine: Local | Mine) -> list[str]:
    """Two parts of pictures, the last of which are broken; gives the command that mills them."""
    mine.fill(ROWS)
    for number in range(BROKEN):
        mine.put(f"broken-{number}.jpg", TRUNCATED)
    return mine.command("run.actors=1")


def mend(mine: Local | Mine, folder: Path) -> None:
    """Put a whole picture in the place of each broken one but the last."""
    for number, path in enumerate(pictures(folder, BROKEN - 1, first=500)):
        mine.put(f"broken-{number}.jpg", path.read_bytes())


# Suspended for longer than a lease

RUN_MOMENTS = {
    "its claim": Moment("before", r"attempts/0001/claim\.json$"),
    "its first beat": Moment("after", r"attempts/0001/claim\.json$"),
    "its identity": Moment("before", r"_run/identity\.json$"),
    "its listing": Moment("before", r"_run/manifest/.*\.parquet$"),
    "its segment": Moment("before", r"_run/manifest/000000\.json$"),
    "its first rows": Moment("before", r"data/part-"),
    "its failures": Moment("before", r"failed/part-"),
    "its last look": Moment("reading", r"_SUCCESS$"),
    "its success": Moment("before", r"_SUCCESS$"),
}
RETRY_MOMENTS = {
    "its segment": Moment("before", r"_run/manifest/000001\.json$"),
    "what it settles": Moment("before", r"failed/part-000001\.parquet$"),
}
QUICK = {"its segment"}


def of_each(moments: dict[str, Moment], quick: set[str]) -> list[Any]:
    marks = {name: () if name in quick else (pytest.mark.slow,) for name in moments}
    return [pytest.param(moment, id=name, marks=marks[name]) for name, moment in moments.items()]


def overtaken(
    mine: Local | Mine, moment: Moment, first: list[str], second: list[str], between: Callable[[], object]
) -> None:
    """`first` is suspended, `second` completes what is there after `between`, `first` wakes up: nothing changes any more."""
    may_be_fetched = mine.output.failed_uris() if second[0] == "retry" else set[str]()
    with asleep(mine, moment, first) as sleeper:
        mine.seal()
        between()
        completes(mine, *second)
        assert mine.fetched_again().keys() <= may_be_fetched
        inputs = ROWS + BROKEN + (NEW if second[0] == "embed" else 0)
        failed = assert_every_input_in_one_row(mine.output, inputs=inputs)
        before = decided(mine.output)
        assert_ends_by_itself(sleeper)
    assert decided(mine.output) == before
    mine.seal()
    completes(mine, *mine.command("run.actors=1"))
    assert mine.fetched_again().keys() <= may_be_fetched
    assert assert_every_input_in_one_row(mine.output, inputs=inputs) == failed


def run_overtaken(mine: Local | Mine, moment: Moment) -> None:
    """The second command sees more inputs than the first, so that their listings differ."""
    command = fill(mine)
    overtaken(mine, moment, command, command, lambda: mine.fill(NEW, first=ROWS))


def retry_overtaken(mine: Local | Mine, moment: Moment, folder: Path) -> None:
    completes(mine, *fill(mine))
    mend(mine, folder)
    retry = ["retry", mine.out]
    overtaken(mine, moment, retry, retry, lambda: None)


@pytest.mark.parametrize("moment", of_each(RUN_MOMENTS, QUICK))
def test_a_run_that_sleeps_before(local: Local, moment: Moment) -> None:
    run_overtaken(local, moment)


@pytest.mark.slow
@pytest.mark.parametrize("moment", of_each(RUN_MOMENTS, QUICK))
def test_a_run_over_s3_that_sleeps_before(honouring: Mine, moment: Moment) -> None:
    run_overtaken(honouring, moment)


@pytest.mark.slow
@pytest.mark.parametrize("moment", of_each(RETRY_MOMENTS, set()))
def test_a_retry_that_sleeps_before(local: Local, moment: Moment, tmp_path: Path) -> None:
    retry_overtaken(local, moment, tmp_path / "mended")


@pytest.mark.slow
@pytest.mark.parametrize("moment", of_each(RETRY_MOMENTS, set()))
def test_a_retry_over_s3_that_sleeps_before(honouring: Mine, moment: Moment, tmp_path: Path) -> None:
    retry_overtaken(honouring, moment, tmp_path / "mended")


@pytest.mark.slow
def test_a_file_on_its_way_when_its_run_is_overtaken_is_not_written(local: Local) -> None:
    """The next attempt removes it while it has no name yet."""
    run_overtaken(local, Moment("landing", r"data/part-[0-9]+\.parquet$"))


@pytest.mark.slow
def test_a_run_suspended_in_the_middle_of_a_replacement_is_named_and_can_be_completed(local: Local) -> None:
    command = fill(local)
    completes(local, *command)
    local.fill(NEW, first=ROWS)
    with asleep(local, Moment("landing", r"_SUCCESS$"), command) as sleeper:
        local.fill(NEW, first=ROWS + NEW)
        ended = pixelmill(user_of(local, {**TIMES, "LOCK_PATIENCE_S": 1.0}), *command)
        assert ended.code == 1
        assert "which is suspended or hangs" in ended.stderr.splitlines()[-1]
        assert_ends_by_itself(sleeper)
    completes(local, *command)
    assert_every_input_in_one_row(local.output, inputs=ROWS + BROKEN + 2 * NEW)


# A store that ignores conditions


@pytest.mark.slow
@pytest.mark.parametrize("file", [r"data/part-", r"_run/manifest/000000\.json$", r"_SUCCESS$"])
def test_a_write_that_lands_late_is_found_and_repaired_by_the_next_run(ignoring: Mine, file: str) -> None:
    command = fill(ignoring)
    with asleep(ignoring, Moment("landing", file), command) as sleeper:
        ignoring.fill(NEW, first=ROWS)
        completes(ignoring, *command)
        failed = assert_every_input_in_one_row(ignoring.output, inputs=ROWS + BROKEN + NEW)
        before = decided(ignoring.output)
        assert_ends_by_itself(sleeper)
    late = decided(ignoring.output)
    assert {name for name in before if late[name] != before[name]}, "nothing landed"
    completes(ignoring, *command)
    assert assert_every_input_in_one_row(ignoring.output, inputs=ROWS + BROKEN + NEW) == failed
    success = json.loads(ignoring.output.read("_SUCCESS"))
    assert (success["inputs"], success["failed"]) == (ROWS + BROKEN + NEW, failed.total())


# Who may take over, and when


@pytest.mark.slow
def test_a_run_suspended_for_less_than_a_lease_keeps_its_claim(local: Local) -> None:
    command = fill(local)
    with asleep(local, RUN_MOMENTS["its listing"], command) as sleeper:
        with Run(user_of(local, LONG_LEASE), *command) as other:
            other.wait_until(lambda: "waiting up to 300 s" in other.stderr, "it waited")
            sleeper.wake()
            assert other.wait() == 75
            assert f"is being written by process {sleeper.pid} on" in other.stderr.splitlines()[-1]
        assert sleeper.wait() == 3, sleeper.stderr
    assert assert_every_input_in_one_row(local.output, inputs=ROWS + BROKEN) == {"Truncated": BROKEN}


def test_a_run_that_was_killed_on_this_machine_is_followed_at_once(local: Local) -> None:
    command = fill(local)
    with asleep(local, RUN_MOMENTS["its first beat"], command) as dead:
        dead.destroy()
        assert "waiting up to" not in completes(local, *command, times=LONG_LEASE)
    assert assert_every_input_in_one_row(local.output, inputs=ROWS + BROKEN) == {"Truncated": BROKEN}


@pytest.mark.slow
@pytest.mark.parametrize("clock_s", [0, 3600, -3600])
def test_a_run_that_was_killed_in_another_pid_namespace_is_followed_after_a_lease_whatever_its_clock_said(
    local: Local, clock_s: int
) -> None:
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("a PID namespace can't be made here")
    command, clock = fill(local), {CLOCK: str(clock_s)}
    with asleep(local, RUN_MOMENTS["its first beat"], command, variables=clock, under=unshare) as dead:
        claimed = json.loads(local.output.read("_run/attempts/0001/claim.json"))
        dead.destroy()
        assert "waiting up to 3 s for a sign of life of process" in completes(local, *command)
    began = datetime.fromisoformat(claimed["claimed_at"]).timestamp()
    assert abs(began - clock_s - time.time()) < 1800
    assert assert_every_input_in_one_row(local.output, inputs=ROWS + BROKEN) == {"Truncated": BROKEN}


@pytest.mark.slow
@pytest.mark.parametrize("clock_s", [3600, -3600])
@pytest.mark.parametrize("whose", ["holder", "other"])
def test_clocks_an_hour_apart_do_not_let_another_run_take_over_a_living_one(
    local: Local, whose: str, clock_s: int
) -> None:
    command, clock = fill(local), {CLOCK: str(clock_s)}
    holders, others = (clock, {}) if whose == "holder" else ({}, clock)
    with asleep(local, RUN_MOMENTS["its listing"], command, variables=holders) as sleeper:
        claimed = json.loads(local.output.read("_run/attempts/0001/claim.json"))
        with Run(user_of(local, LONG_LEASE, **others), *command) as other:
            other.wait_until(lambda: "waiting up to 300 s" in other.stderr, "it waited")
            sleeper.wake()
            assert other.wait() == 75
            assert f"is being written by process {sleeper.pid} on" in other.stderr.splitlines()[-1]
        assert sleeper.wait() == 3, sleeper.stderr
    began = datetime.fromisoformat(claimed["claimed_at"]).timestamp()
    assert abs(began - float(holders.get(CLOCK, 0)) - time.time()) < 1800
    assert assert_every_input_in_one_row(local.output, inputs=ROWS + BROKEN) == {"Truncated": BROKEN}


# Two jobs


def another_job(local: Local) -> list[str]:
    """Another source for the same output."""
    pictures(local.folder / "other", ROWS, first=1000)
    return ["embed", str(local.folder / "other"), local.out, "--model", MODEL, "--set", "run.actors=1"]


@pytest.mark.slow
def test_of_two_jobs_that_start_together_one_is_refused_and_nothing_is_mixed(local: Local) -> None:
    commands = [local.command("run.actors=1"), another_job(local)]
    local.fill(ROWS)
    user = user_of(local, LONG_LEASE)
    with Run(user, *commands[0]) as first, Run(user, *commands[1]) as second:
        codes = sorted([first.wait(), second.wait()])
        assert codes in ([0, 2], [0, 75]), first.stderr + second.stderr
        winner, loser = (first, second) if first.process.returncode == 0 else (second, first)
    said = loser.stderr.splitlines()
    assert any("is being written by process" in line or "holds a run of another job" in line for line in said), said
    assert_every_input_in_one_row(local.output, inputs=ROWS)
    place = "/in/" if winner is first else "/other/"
    assert all(place in uri for uri in local.output.table("data")["uri"].to_pylist())


@pytest.mark.slow
def test_a_job_that_sleeps_before_it_signs_an_output_does_not_mix_into_the_one_of_another(local: Local) -> None:
    local.fill(ROWS)
    with asleep(local, RUN_MOMENTS["its identity"], another_job(local)) as sleeper:
        completes(local, *local.command("run.actors=1"))
        before = decided(local.output)
        sleeper.wake()
        assert sleeper.wait() in {1, 2}
        assert "holds a run of another job" in sleeper.stderr or "has taken over since" in sleeper.stderr
        assert "Traceback" not in sleeper.stderr
    assert decided(local.output) == before
    assert_every_input_in_one_row(local.output, inputs=ROWS)


# Trainings

TRAINING_MOMENTS = {
    "its identity": Moment("before", r"_run/training\.json$"),
    "its best weights": Moment("before", r"^model\.safetensors$"),
    "their card": Moment("before", r"^card\.json$"),
    "its last checkpoint": Moment("before", r"_run/last\.json$"),
}
SMALL = ["steps=60", "batch=8", "size_px=16", "latent_size=4", "hidden=32", "channels=3", "run.threads=1"]


@pytest.mark.slow
@pytest.mark.parametrize("moment", of_each(TRAINING_MOMENTS, set()))
def test_a_training_that_sleeps_before(local: Local, moment: Moment) -> None:
    pictures(local.folder / "in", 48, size=(16, 16))
    overrides = [word for setting in SMALL for word in ("--set", setting)]
    command = ["train", "vae", "--data", local.source, "--out", local.out, *overrides]
    with asleep(local, moment, command) as sleeper:
        completes(local, *command)
        before = local.output.published("_run/attempts")  # without what the sleeper has half written, and removes
        assert_ends_by_itself(sleeper)
    assert local.output.published("_run/attempts") == before
    assert "was trained already" in pixelmill(user_of(local), *command).stdout
