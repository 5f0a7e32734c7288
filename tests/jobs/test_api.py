"""`import pixelmill`: light to import, the same checks and errors as the command, and the calling process stays as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
import yaml

import pixelmill
from pixelmill.jobs import api
from pixelmill.jobs.child import Request
from pixelmill.jobs.training.job import read_recipe_file
from pixelmill.workers.errors import JobError, ModelError, RunRefused
from tests.installation import ROOT
from tests.support import Home, Output, assert_every_input_in_one_row, pictures

pytestmark = pytest.mark.timeout(1200)

MODEL = "torchvision:mobilenet_v3_small/random"
NOTEBOOK = ROOT / "docs" / "tutorials" / "embed.ipynb"
HEAVY = {"torch", "torchvision", "ray", "pyarrow", "numpy", "yaml", "pydantic", "rich", "pixelmill.jobs"}


@pytest.fixture(autouse=True)
def as_the_user(user: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run is started with, here too: a cache and a temporary folder of its own."""
    for name in ("XDG_CACHE_HOME", "TMPDIR", "RAY_memory_monitor_refresh_ms"):
        monkeypatch.setenv(name, user.environment[name])


@pytest.fixture
def unchanged() -> Iterator[None]:
    """Fails where a call changed what belongs to the whole process."""
    before = state_of_the_process()
    yield
    assert state_of_the_process() == before


def state_of_the_process() -> dict[str, Any]:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    descriptors = [os.fstat(number)[:3] for number in (0, 1, 2)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return {
        "handlers": handlers,
        "descriptors": descriptors,
        "streams": (sys.stdout, sys.stderr),
        "environment": environment,
        "path": list(sys.path),
    }


# Import


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, pixelmill; print(*dir(pixelmill)); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, modules = done.stdout.splitlines()
    assert {"embed", "run", "train", "open_run", "load"} <= set(names.split())
    assert set(modules.split()) & HEAVY == set()


def test_every_name_that_it_offers_is_there_and_no_other() -> None:
    assert all(getattr(pixelmill, name).__doc__ for name in pixelmill.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'embedd'"):
        pixelmill.embedd  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


# Bulk jobs


@pytest.mark.usefixtures("unchanged")
def test_embed_works_again_after_it_worked_and_after_it_failed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    pictures(source, 5)
    (source / "broken.jpg").write_bytes(b"<html>gone</html>")
    all_may_fail = {"run.max_failed_fraction": 1.0, "run.actors": 1}
    made = pixelmill.embed(source, out, model=MODEL, overrides=all_may_fail)
    assert made.counts == {"inputs": 6, "done": 5, "failed": 1}
    assert made.failed()["error_type"].to_pylist() == ["NotAnImage"]
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "starting Ray" in printed.err

    with pytest.raises(RunRefused, match=r"stages\.0\.embed\.model"):
        pixelmill.embed(source, out, model="torchvision:resnet18/random", overrides=all_may_fail)
    with pytest.raises(JobError, match="did you mean resnet1"):
        pixelmill.embed(source, out, model="torchvision:resnet19")
    assert "Traceback" not in capfd.readouterr().err

    pictures(source, 1, first=5)
    again = pixelmill.embed([source], out, model=MODEL, overrides=all_may_fail, quiet=True)
    assert again.counts == {"inputs": 7, "done": 6, "failed": 1}
    assert capfd.readouterr() == ("", "")
    assert_every_input_in_one_row(Output(str(out)), inputs=7)


@pytest.mark.usefixtures("unchanged")
def test_a_job_is_a_mapping_a_text_or_a_file(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 3)
    stage = {"embed": {"model": MODEL}}
    job = {"version": 1, "source": tmp_path / "in", "out": tmp_path / "out", "stages": [stage]}
    made = pixelmill.run(job, quiet=True)
    before = Output(made.uri).contents("_run/")
    text = yaml.safe_dump({**job, "source": str(tmp_path / "in"), "out": str(tmp_path / "out")})
    (tmp_path / "job.yaml").write_text(text, encoding="utf-8")
    for same in (text, str(tmp_path / "job.yaml")):
        assert pixelmill.run(same, quiet=True).counts == {"inputs": 3, "done": 3, "failed": 0}
    assert Output(made.uri).contents("_run/") == before  # the same job, so that nothing was left to do


@pytest.mark.usefixtures("unchanged")
def test_the_path_of_a_job_file_may_be_a_text_or_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = list[Request]()

    def recorded(request: Request) -> str:
        requests.append(request)
        raise JobError("is not run here")

    monkeypatch.setattr(api, "run_in_child", recorded)
    file = tmp_path / "job.yaml"
    file.write_text("version: 1\nsource: in\nout: out\n", encoding="utf-8")
    for path in (file, str(file)):
        with pytest.raises(JobError, match="is not run here"):
            pixelmill.run(path)
    assert requests[0] == requests[1]
    assert (requests[0].text, requests[0].name) == (file.read_text(), str(file))


# Training


@pytest.mark.usefixtures("unchanged")
def test_what_a_training_begins_with_is_what_its_job_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = list[Request]()
    monkeypatch.setattr(api, "run_in_child", lambda request: requests.append(request) or "out")
    start = tmp_path / "a folder: [with] {marks}"
    pixelmill.train("vae", data=tmp_path / "in", out=tmp_path / "out", init_from=start)
    (request,) = requests
    job = read_recipe_file(request.text, name=request.name, overrides=list(request.overrides), environment={})
    assert job.spec.init_from == str(start)
    assert job.spec.data_uris == [str(tmp_path / "in")]


def test_train_returns_a_checkpoint_that_load_takes(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 24, size=(16, 16))
    small = {"batch": 8, "size_px": 16, "latent_size": 4, "hidden": 32, "channels": 3, "steps": 10, "run.threads": 1}
    checkpoint = pixelmill.train("vae", data=tmp_path / "in", out=tmp_path / "out", overrides=small, quiet=True)
    assert checkpoint == str(tmp_path / "out")
    model = pixelmill.load(checkpoint)
    assert model.card is not None
    assert (model.card.network, model.network.training) == ("vae", False)
    assert model.card.settings["latent_size"] == 4


# Errors


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: pixelmill.run("no-such.yaml"), JobError, "no-such.yaml: there is no such job file"),
        (lambda: pixelmill.run("version: 1\nsource: in\n"), JobError, "out: is missing"),
        (lambda: pixelmill.run({"version": 1, "source": object()}), JobError, "no job file can hold it"),
        (lambda: pixelmill.embed("in", "out", overrides={"run.actor": 1}), JobError, "did you mean actors"),
        (lambda: pixelmill.embed("in", "out", overrides={"run.actors": {1}}), JobError, "give texts, numbers, paths"),
        (lambda: pixelmill.train("segnet-cmvid"), JobError, "did you mean segnet-camvid"),
        (
            lambda: pixelmill.train({"recipe": "vae", "data": ["in"]}, overrides={"epoch": 1}),
            JobError,
            "out: is missing",
        ),
        (lambda: pixelmill.open_run("out"), JobError, "holds no run of pixelmill"),
        (lambda: pixelmill.load("no-such"), ModelError, "no-such"),
        (lambda: pixelmill.load("s3://me:ab5c0ffee@bucket/x"), JobError, "carries credentials"),
    ],
)
def test_what_can_not_be_done_raises_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any, kind: type[Exception], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=words) as raised:
        call()
    assert "ab5c0ffee" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


# A notebook


def outputs_of(notebook: Any, kind: str) -> str:
    """All that the cells showed in this way: stderr, stdout, or a mime type of results."""
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    streams = [output.text for output in shown if output.get("name") == kind]
    return "".join([*streams, *(str(output.data[kind]) for output in shown if kind in output.get("data", {}))])


def test_the_notebook_of_the_tutorial_runs_and_shows_progress_and_results(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    client = nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    progress = outputs_of(notebook, "stderr")
    assert "starting Ray" in progress
    assert "accounting: 13 / 13" in progress
    assert "Traceback" not in progress
    assert "12 done, 1 failed of 13 inputs" in outputs_of(notebook, "text/html")
    assert "NotAnImage" in outputs_of(notebook, "text/html")
    assert assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=13) == {"NotAnImage": 1}
