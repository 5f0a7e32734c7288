"""`kubernetes`: a manifest on standard output, and verdicts on manifests of anybody."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.workers.errors import JobError
from tests.jobs.kubernetes.manifests import JOB


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "embed.yaml").write_text(JOB)
    return tmp_path / "embed.yaml"


def test_a_manifest_is_all_of_standard_output_and_passes_its_own_check(job: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(cli.app, ["kubernetes", str(job), "--explain", "--set", "groups.0.max=8"])
    assert shown.exit_code == 0, shown.output
    config, ray_job = yaml.safe_load_all(shown.stdout)
    assert (config["kind"], ray_job["kind"]) == ("ConfigMap", "RayJob")
    assert "push it where the nodes find it, and name it with --set image=IMAGE" in shown.stderr
    (tmp_path / "manifest.yaml").write_text(shown.stdout)
    checked = CliRunner().invoke(cli.app, ["kubernetes", str(tmp_path / "manifest.yaml"), "--check"])
    assert checked.stdout.endswith(
        "manifest.yaml: ConfigMap, RayJob: the operator's rules (KubeRay 1.6) find no fault\n"
    )


@pytest.mark.parametrize("more", [(), ("--schedule", "0 2 * * *")])
def test_an_image_that_was_named_is_not_asked_for(job: Path, more: tuple[str, ...]) -> None:
    def said(*options: str) -> str:
        shown = CliRunner().invoke(cli.app, ["kubernetes", str(job), *more, *options])
        assert shown.exit_code == 0, shown.output
        return shown.stderr

    default = said().removeprefix("every pod runs the image ").partition(": push it")[0]
    assert default.startswith("pixelmill:")
    assert said("--set", f"image=registry.example/{default}") == ""
    assert said("--set", f"image={default}-cuda") == ""


def test_a_cluster_file_says_what_the_cluster_is_and_options_override_it(job: Path, tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("image: r/pixelmill:1\ngroups:\n  - {name: gpu, gpus: 1}\n")
    given = ["kubernetes", str(job), "--cluster", str(tmp_path / "cluster.yaml"), "--set", "groups.0.max=9"]
    shown = CliRunner().invoke(cli.app, given)
    group = list(yaml.safe_load_all(shown.stdout))[1]["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert (group["groupName"], group["maxReplicas"]) == ("gpu", 9)
    assert group["template"]["spec"]["containers"][0]["image"] == "r/pixelmill:1"
    assert shown.stderr == ""


def test_a_job_is_checked_without_printing_its_manifest(job: Path) -> None:
    shown = CliRunner().invoke(cli.app, ["kubernetes", str(job), "--check", "--schedule", "0 2 * * *"])
    assert shown.stdout.startswith(
        f"{job}: ConfigMap, ServiceAccount, Role, RoleBinding, CronJob: the operator's rules"
    )


def test_every_fault_of_a_manifest_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "apiVersion: ray.io/v1\nkind: RayJob\nmetadata: {name: Embed}\n"
        "spec: {suspend: true, entrypoint: pixelmill run job.yaml, backoffLimit: -1}\n"
    )
    with pytest.raises(JobError) as refused:
        cli.app(["kubernetes", str(tmp_path / "m.yaml"), "--check"], standalone_mode=False)
    lines = str(refused.value).splitlines()
    assert lines[0].endswith("m.yaml: this manifest is refused, or does not do what it says")
    assert [line.partition(": ")[0] for line in lines[1:]] == [
        "RayJob/Embed.metadata.name",
        "RayJob/Embed.spec.suspend",
        "RayJob/Embed.spec",
        "RayJob/Embed.spec.backoffLimit",
    ]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--schedule", "0 0 31 4 *"], "never fires: Apr has 30 days"),
        (["--ray-cron-job"], "--ray-cron-job: needs --schedule"),
        (["--set", "name=Embed"], "'Embed' is refused"),
        (["--set", "groups.0.maxx=2"], "maxx"),
        (["--cluster", "/nowhere.yaml"], "/nowhere.yaml: there is no such job file"),
    ],
)
def test_wrong_arguments_print_no_manifest(
    arguments: list[str], why: str, job: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(JobError) as refused:
        cli.app(["kubernetes", str(job), *arguments], standalone_mode=False)
    assert why in str(refused.value)
    assert capsys.readouterr().out == ""
