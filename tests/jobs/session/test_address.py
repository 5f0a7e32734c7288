"""Where Ray is, is what the job names, or else the environment; what can't be it is answered at once."""

from __future__ import annotations

import re

import pytest

from pixelmill.jobs.session.cluster import QUIET, address_of, connect
from pixelmill.workers.errors import JobError


@pytest.mark.parametrize(
    ("written", "environment", "address"),
    [
        (None, {}, None),
        (None, {"RAY_ADDRESS": "a:6379"}, "a:6379"),
        ("b:6379", {"RAY_ADDRESS": "a:6379"}, "b:6379"),
        ("local", {"RAY_ADDRESS": "a:6379"}, None),
        (None, {"RAY_ADDRESS": ""}, None),
        (None, {"RAY_ADDRESS": "local"}, None),
    ],
)
def test_the_job_names_the_cluster_or_else_the_environment(
    written: str | None, environment: dict[str, str], address: str | None
) -> None:
    assert address_of(written, environment) == address


def test_a_ray_of_our_own_tells_its_makers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._common.usage import usage_lib

    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    assert usage_lib.usage_stats_enabled()
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    assert not usage_lib.usage_stats_enabled()


@pytest.mark.parametrize(
    ("address", "fact"),
    [
        ("127.0.0.1:9", "no Ray cluster answers there .*refused"),
        ("ray://127.0.0.1:9", "ray:// can't run a job .*ray job submit"),
    ],
)
def test_an_address_where_nobody_answers_is_reported_at_once(address: str, fact: str) -> None:
    with pytest.raises(JobError, match=f"{re.escape(address)}: {fact}"):
        connect(address)
