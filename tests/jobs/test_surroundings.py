"""What only the process knows is read in one place; a level or a format that there is not is refused."""

from __future__ import annotations

import os
import sys
import time

import pytest

from pixelmill.jobs.surroundings import STARTED_S, of_process
from pixelmill.workers.errors import JobError


def test_the_surroundings_are_those_of_the_process() -> None:
    around = of_process(quiet=True, log_level="debug", log_format="json")
    assert around.environment is os.environ  # Ray reads its settings from there
    assert around.stderr is sys.stderr
    assert around.is_terminal == sys.stderr.isatty()
    assert around.started_s == STARTED_S <= around.now() <= time.time()
    assert (around.quiet, around.log_level, around.log_format) == (True, "debug", "json")


def test_settings_are_cached_where_the_users_system_keeps_such_things(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    cache_dir = of_process(quiet=False).cache_dir
    assert cache_dir is not None
    assert cache_dir.parts[-2:] == ("pixelmill", "settings")
    assert cache_dir.is_absolute()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"log_level": "loud"}, "--log-level loud: there are debug, info, warning, error"),
        ({"log_level": "INFO"}, "--log-level INFO: there are debug, info, warning, error"),
        ({"log_format": "xml"}, "--log-format xml: there are text, json"),
    ],
)
def test_a_level_or_a_format_that_there_is_not_is_answered_with_those_that_there_are(
    options: dict[str, str], message: str
) -> None:
    with pytest.raises(JobError) as raised:
        of_process(quiet=False, **options)
    assert str(raised.value) == message
