"""Misconfigurations are planted, and each is found with its next step; a machine without any is found to be well."""

from __future__ import annotations

import io
import json
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.jobs.doctor import machine
from pixelmill.jobs.doctor.examining import Asked, examine
from pixelmill.jobs.doctor.findings import Finding, fault, ok, reported
from pixelmill.jobs.doctor.machine import Places
from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.versions import versions
from tests.conftest import Reach
from tests.servers.dashboard import dashboard
from tests.servers.gateway import Gateway
from tests.servers.moto import Moto
from tests.support import home, pictures, pixelmill

SECRET = "a-token-that-is-never-shown"


@dataclass
class Planted:
    """A machine and a job that are well, for a test to spoil."""

    folder: Path
    stack: ExitStack
    environment: dict[str, str] = field(default_factory=dict[str, str])
    address: str | None = None
    overrides: list[str] = field(default_factory=list[str])
    places: Places = field(default_factory=Places)
    ahead_s: float = 0.0

    def found(self) -> dict[str, Finding]:
        """The worst finding about each thing."""
        job = self.folder / "job.yaml"
        asked = Asked(str(job), self.address, self.overrides, is_quick=True, places=self.places)
        around = Surroundings(self.environment, io.StringIO(), False, None, 0.0, now=lambda: time.time() + self.ahead_s)
        worst: dict[str, Finding] = {}
        for finding in examine(asked, around):
            if worst.get(finding.what) is None or worst[finding.what].grade == "ok":
                worst[finding.what] = finding
        return worst


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    pictures(tmp_path / "in", 2)
    stage = "stages: [{embed: {model: torchvision:squeezenet1_1/random}}]"
    (tmp_path / "job.yaml").write_text(f"version: 1\nsource: {tmp_path}/in\nout: {tmp_path}/out\n{stage}\n")
    with ExitStack() as stack:
        yield Planted(tmp_path, stack)


def test_a_machine_and_a_job_that_are_well_have_no_problem_and_nothing_is_written(planted: Planted) -> None:
    found = planted.found()
    assert {finding.what: finding.grade for finding in found.values() if finding.grade != "ok"} == {}
    assert {"versions", "devices", "shared memory", "open files", "token", "source", "output", "clock", "plan"} <= set(
        found
    )
    assert not (planted.folder / "out").exists()


def no_token(planted: Planted) -> None:
    planted.environment |= {"RAY_AUTH_MODE": "token", "HOME": str(planted.folder)}
    patch = planted.stack.enter_context(pytest.MonkeyPatch.context())
    patch.setenv("HOME", str(planted.folder))


def unreadable_token(planted: Planted) -> None:
    planted.environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(planted.folder / "gone")}


def overridden_address(planted: Planted) -> None:
    planted.environment["RAY_ADDRESS"] = "http://other:8265"
    planted.address = planted.stack.enter_context(dashboard(versions()["ray"]))


def silent_address(planted: Planted) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        planted.address = f"127.0.0.1:{nobody.getsockname()[1]}"


def another_version(planted: Planted) -> None:
    planted.address = planted.stack.enter_context(dashboard("2.31.0"))


def refused_token(planted: Planted) -> None:
    planted.address = planted.stack.enter_context(dashboard(versions()["ray"], token="another"))
    planted.environment["RAY_AUTH_TOKEN"] = SECRET


def address_of_ray_client(planted: Planted) -> None:
    planted.address = "ray://head:10001"


def no_shared_memory(planted: Planted) -> None:
    planted.places = replace(planted.places, shared_memory=Path("/sys"))  # a file system without room


def few_files(planted: Planted) -> None:
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, most))
    planted.stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (now, most))


def no_temporary_folder(planted: Planted) -> None:
    planted.places = replace(planted.places, temporary=planted.folder / "gone")


def empty_source(planted: Planted) -> None:
    (planted.folder / "empty").mkdir()
    planted.overrides = [f"source.uri={planted.folder}/empty"]


def output_below_a_file(planted: Planted) -> None:
    (planted.folder / "file").write_text("")
    planted.overrides = [f"out.uri={planted.folder}/file/out"]


def more_gpus_than_there_are(planted: Planted) -> None:
    planted.overrides = ["run.num_gpus=8"]


def a_key_that_is_none(planted: Planted) -> None:
    planted.overrides = ["run.actorss=8"]


def a_flow(planted: Planted) -> None:
    (planted.folder / "job.yaml").write_text("version: 1\nout: o\nsteps: {a: {run: [embed, '${in}', '${out}']}}\n")


def a_training(planted: Planted) -> None:
    (planted.folder / "job.yaml").write_text("recipe: vae\ndata: d\nout: o\n")


Plant = Callable[[Planted], None]

PLANTS: list[tuple[Plant, str, str, str]] = [
    (no_token, "token", "RAY_AUTH_MODE is token, and there is none", "`ray get-auth-token`"),
    (unreadable_token, "token", r"RAY_AUTH_TOKEN_PATH .*gone can't be read", "set RAY_AUTH_TOKEN"),
    (overridden_address, "address", "RAY_ADDRESS is http://other:8265", "unset RAY_ADDRESS"),
    (silent_address, "address", "no Ray cluster answers there", "ray status"),
    (another_version, "address", "runs Ray 2.31.0, and here is Ray", r"pip install 'ray==2\.31\.0'"),
    (refused_token, "address", r"refuses the token \(401\)", "set RAY_AUTH_TOKEN"),
    (address_of_ray_client, "address", "ray:// can't run a job", "ray job submit"),
    (no_shared_memory, "shared memory", "/sys has 0 MB free, and Ray's objects take up to", "--shm-size"),
    (few_files, "open files", "may have 512 files open, and Ray needs 1,024", r"ulimit -n \d+"),
    (no_temporary_folder, "temporary", "gone is no folder that you may write into", "set TMPDIR"),
    (empty_source, "source", "empty: ", "."),
    (output_below_a_file, "output", "is a file, or has one above it", "choose another folder"),
    (more_gpus_than_there_are, "plan", "can't be placed: .* with 8 GPUs", "lower run.actors"),
    (a_key_that_is_none, "job", "actorss", "."),
    (a_flow, "job", "is a flow, and job files are examined", "run .*job.yaml --dry-run"),
    (a_training, "job", "is a training, and job files are examined", "pixelmill train .*job.yaml"),
]


@pytest.mark.parametrize(("plant", "what", "fact", "step"), PLANTS, ids=[plant.__name__ for plant, *_ in PLANTS])
def test_what_is_planted_is_found_with_its_next_step(
    planted: Planted, plant: Plant, what: str, fact: str, step: str
) -> None:
    plant(planted)
    finding = planted.found()[what]
    assert finding.grade in ({"warning"} if plant is overridden_address else {"fault"})
    assert re.search(fact, finding.fact), finding
    assert finding.next_step is not None
    assert re.search(step, finding.next_step), finding
    assert SECRET not in finding.line()


@contextmanager
def bucket(server: Gateway | Moto, reach: Reach, planted: Planted) -> Iterator[None]:
    reach(server.env)
    planted.environment |= server.env
    server.make_bucket(planted.folder.name.replace("_", "-").lower())
    planted.overrides = [f"out.uri=s3://{planted.folder.name.replace('_', '-').lower()}/out"]
    yield


def test_a_store_that_ignores_conditions_is_found_and_its_probe_is_removed(
    gateway: Gateway, reach: Reach, planted: Planted
) -> None:
    with bucket(gateway, reach, planted):
        finding = planted.found()["output"]
    assert finding.grade == "warning"
    assert "ignores conditional writes" in finding.fact
    assert "let one scheduler alone start this job" in str(finding.next_step)
    assert not [path for path in (gateway.folder).rglob("*probe*") if path.is_file()]


def test_a_store_with_conditions_is_well_and_a_clock_apart_is_found(moto: Moto, reach: Reach, planted: Planted) -> None:
    with bucket(moto, reach, planted):
        found = planted.found()
        assert (found["output"].grade, found["clock"].grade) == ("ok", "ok")
        planted.ahead_s = 3600
        finding = planted.found()["clock"]
    assert finding.grade == "fault"
    assert re.search(r"is 3,[56]\d\d s ahead of that of http://127", finding.fact)
    assert "timedatectl" in str(finding.next_step)


def test_a_bucket_that_is_not_there_is_found(moto: Moto, reach: Reach, planted: Planted) -> None:
    reach(moto.env)
    planted.environment |= moto.env
    planted.overrides = ["out.uri=s3://no-such-bucket-of-ours/out"]
    finding = planted.found()["output"]
    assert (finding.grade, finding.next_step) == ("fault", "check the name of the bucket or folder")


def test_gpus_that_torch_does_not_see_are_found() -> None:
    (finding,) = machine.examine_devices(Machine(8, 2, 1 << 34))
    assert (finding.grade, "pytorch.org" in str(finding.next_step)) == ("fault", True)


def test_an_error_of_one_examination_hides_no_other() -> None:
    def breaks() -> Iterator[Finding]:
        yield ok("a", "is well")
        raise RuntimeError("odd")

    found = list(reported("b", breaks, "look"))
    assert found == [ok("a", "is well"), fault("b", "can't be examined: RuntimeError: odd", "look")]


@pytest.mark.parametrize(("grade", "step"), [("fault", None), ("warning", None), ("ok", "do it")])
def test_a_problem_without_a_next_step_can_not_be_reported(grade: str, step: str | None) -> None:
    with pytest.raises(ValueError, match="a problem has a next step"):
        Finding(grade, "a", "b", step)  # pyright: ignore[reportArgumentType]


def test_the_command_prints_a_line_for_each_finding_and_ends_with_2_for_a_fault(tmp_path: Path) -> None:
    shown = CliRunner().invoke(cli.app, ["doctor", str(tmp_path / "gone.yaml"), "--json"])
    assert shown.exit_code == 2
    found = [json.loads(line) for line in shown.stdout.splitlines()]
    assert found[0]["what"] == "versions"
    assert found[-1]["grade"] == "fault"
    assert "there is no such job file" in found[-1]["fact"]


@pytest.mark.slow  # a run over one input
def test_the_first_row_is_timed_and_leaves_nothing_behind(planted: Planted) -> None:
    with home() as user:
        shown = pixelmill(user, "doctor", str(planted.folder / "job.yaml"))
        assert user.left_behind() == []
    assert shown.code == 0, shown.stdout
    assert re.search(r"ok +first row +after [\d.]+ s, of them [\d.]+ s for ", shown.stdout), shown.stdout
    assert sorted(path.name for path in planted.folder.iterdir()) == ["in", "job.yaml"]
