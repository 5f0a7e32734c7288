"""A CronJob's pod applies one RayJob of a fixed name, and ends when that has ended; never are there two."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixelmill.jobs.kubernetes.apply import Api, Away, Refused, apply
from tests.servers.kubernetes_api import KubernetesApi

JOB = {"kind": "RayJob", "metadata": {"name": "nightly", "namespace": "vision"}, "spec": {"entrypoint": "pixelmill"}}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[KubernetesApi]:
    with KubernetesApi(tmp_path) as made:
        yield made


def pod(api: KubernetesApi, said: list[str] | None = None, away_s: float = 60.0) -> str:
    return apply(Api(api.url, api.account, poll_s=0.02, away_s=away_s), JOB, [].append if said is None else said.append)


def ended_later(api: KubernetesApi, status: str) -> threading.Thread:
    """An operator that ends the RayJob once it has been asked for several times."""

    def operate() -> None:
        while api.requests.count("GET nightly") < 5:
            time.sleep(0.01)
        api.finish("nightly", status)

    thread = threading.Thread(target=operate)
    thread.start()
    return thread


@pytest.mark.parametrize("status", ["Complete", "Failed"])
def test_it_applies_the_rayjob_and_waits_for_its_end(api: KubernetesApi, status: str) -> None:
    operator = ended_later(api, status)
    assert pod(api) == status
    operator.join()
    assert api.jobs["nightly"]["spec"] == JOB["spec"]
    assert api.requests.count("POST rayjobs") == 1
    assert api.requests.count("GET nightly") >= 5


def test_one_that_runs_is_waited_for_and_not_begun_again(api: KubernetesApi) -> None:
    api.jobs["nightly"] = {**JOB, "status": {"jobDeploymentStatus": "Running"}}
    operator, said = ended_later(api, "Complete"), list[str]()
    assert pod(api, said) == "Complete"
    operator.join()
    assert said[0] == "waits for the RayJob that runs already"
    assert not any(request.startswith(("POST", "DELETE")) for request in api.requests)


def test_the_one_of_the_last_time_is_deleted_first(api: KubernetesApi) -> None:
    api.jobs["nightly"] = {**JOB, "status": {"jobDeploymentStatus": "Failed"}}
    api.ends_as = ["Complete"]
    assert pod(api) == "Complete"
    changes = [request for request in api.requests if not request.startswith("GET")]
    assert changes == ["DELETE nightly", "POST rayjobs"]


def test_the_loser_of_a_race_waits_for_the_winners(api: KubernetesApi) -> None:
    answer = api.answer

    def late(method: str, path: str, token: str | None, body: bytes) -> tuple[int, dict[str, object]]:
        """Another pod applies its RayJob between this one's look and its own."""
        if method == "POST" and "nightly" not in api.jobs:
            api.jobs["nightly"] = {**JOB, "status": {"jobDeploymentStatus": "Complete"}, "theirs": True}
        return answer(method, path, token, body)

    api.answer = late  # pyright: ignore[reportAttributeAccessIssue]
    assert pod(api) == "Complete"
    assert api.jobs["nightly"]["theirs"] is True


def test_an_api_server_that_is_away_for_a_while_costs_nothing(api: KubernetesApi) -> None:
    api.fail_next, api.ends_as = [503, 429, 500], ["Complete"]
    assert pod(api) == "Complete"
    assert api.requests.count("POST rayjobs") == 1


def test_one_that_stays_away_or_refuses_ends_the_pod_with_the_reason(api: KubernetesApi) -> None:
    api.fail_next = [503] * 1000
    with pytest.raises(Away, match="has not answered for"):
        pod(api, away_s=0.1)
    api.fail_next = [403]
    with pytest.raises(Refused, match=r"GET .*nightly: 403 as it was told"):
        pod(api)


def test_a_rayjob_that_somebody_deletes_ends_the_wait(api: KubernetesApi) -> None:
    api.jobs["nightly"] = {**JOB, "status": {"jobDeploymentStatus": "Running"}}
    thread = threading.Timer(0.1, api.jobs.clear)
    thread.start()
    assert pod(api) == "Deleted"
    thread.join()


def test_the_token_is_read_for_each_request(api: KubernetesApi) -> None:
    (api.account / "token").write_text("an old one")
    with pytest.raises(Refused, match="401 Unauthorized"):
        pod(api)
