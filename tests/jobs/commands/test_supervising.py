"""`supervise`: its exit codes, as schedulers want them."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.jobs.supervision import supervising
from pixelmill.jobs.supervision.exit_codes import EXIT_STOPPED
from pixelmill.workers.errors import JobError


@pytest.mark.parametrize(
    ("ended", "options", "code"),
    [
        (EXIT_STOPPED, [], EXIT_STOPPED),
        (EXIT_STOPPED, ["--stopped", "ok"], 0),
        (75, ["--stopped", "ok"], 75),
        (1, ["--stopped", "ok"], 1),
        (0, [], 0),
    ],
)
def test_a_clean_stop_is_no_failure_where_a_scheduler_would_begin_a_failed_job_again(
    ended: int, options: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "supervise_file", lambda *_, **__: ended)
    assert CliRunner().invoke(cli.app, ["supervise", "job.yaml", *options]).exit_code == code


def test_another_word_is_refused() -> None:
    with pytest.raises(JobError, match="--stopped never: there are exit-4 and ok"):
        cli.app(["supervise", "job.yaml", "--stopped", "never"], standalone_mode=False)
