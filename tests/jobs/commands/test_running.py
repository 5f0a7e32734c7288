"""What commands that start a run share: what is given becomes YAML and comes back as it was, and Ctrl-C names the command."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.jobs.commands.running import failing, interrupted, job_of, quoted, run_bulk
from pixelmill.jobs.outcome import EXIT_INTERRUPTED
from pixelmill.jobs.surroundings import Surroundings, of_process
from pixelmill.workers.errors import JobError, PixelmillError

SENSIBLE = st.characters(exclude_categories=["Cs", "Cc"])


@given(st.text(SENSIBLE) | st.lists(st.text(SENSIBLE)) | st.integers())
def test_a_value_comes_back_from_yaml_as_it_was(value: object) -> None:
    assert yaml.safe_load(quoted(value)) == value


def test_failures_are_an_override_where_they_are_given() -> None:
    assert failing(None) == []
    assert failing("ok") == ['run.failures="ok"']


def test_a_document_becomes_a_checked_job() -> None:
    with pytest.raises(JobError, match="did you mean source"):
        job_of({"version": 1, "sorce": "in", "out": "out", "stages": ["embed"]}, "embed", [], of_process(quiet=True))


@pytest.fixture
def around() -> Iterator[Surroundings]:
    yield Surroundings({}, io.StringIO(), False, None, 0.0)
    logging.disable(logging.NOTSET)


def test_after_ctrl_c_the_command_that_resumes_is_named(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pixelmill", "depth", "my photos", "out"])
    with pytest.raises(typer.Exit) as ended:
        interrupted("it resumes", around)
    assert ended.value.exit_code == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "interrupted; it resumes: pixelmill depth 'my photos' out\n"


@pytest.mark.parametrize("retry", [False, True])
def test_a_retry_gives_no_advice_on_the_model_which_it_can_not_change(
    around: Surroundings, retry: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {"version": 1, "source": str(tmp_path / "in"), "out": str(tmp_path / "out"), "stages": ["embed"]}
    with pytest.raises(PixelmillError, match=r"nothing to retry|in: does not exist"):
        run_bulk(job_of(document, "embed", [], around), around, retry=retry)
    assert capsys.readouterr().err.startswith("note: no model was named") != retry
