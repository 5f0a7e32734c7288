"""How many workers a step takes that states its CPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.jobs.flows.sizing import sized
from pixelmill.jobs.flows.spec import StepSpec

EMBED = ("embed", "in", "out")


def step(**keys: object) -> StepSpec:
    return StepSpec.model_validate({"run": ["embed"], **keys})


def settings(words: tuple[str, ...]) -> list[str]:
    return [word for word in words[len(EMBED) :] if word != "--set"]


def test_a_step_that_states_its_cpus_takes_a_worker_for_each() -> None:
    assert settings(sized(EMBED, step(cpus=3.5), None)) == ["run.actors=3", "run.num_gpus=0"]
    assert settings(sized(EMBED, step(cpus=0.5), None)) == ["run.actors=1", "run.num_gpus=0"]


def test_a_step_with_gpus_takes_a_worker_for_each_of_them_and_leaves_a_cpu_for_publishing() -> None:
    assert settings(sized(EMBED, step(cpus=8, gpus=2), None)) == [
        "run.actors=2",
        "run.cpus_per_actor=3",
        "run.num_gpus=1",
    ]
    assert settings(sized(EMBED, step(cpus=1, gpus=0.5), None)) == [
        "run.actors=1",
        "run.cpus_per_actor=1",
        "run.num_gpus=0.5",
    ]


@pytest.mark.parametrize("own", ["run.actors=7", "run.cpus_per_actor=2", "run.num_gpus=1"])
def test_a_step_whose_words_size_it_stays_as_it_is(own: str) -> None:
    assert sized((*EMBED, "--set", own), step(cpus=2), None) == (*EMBED, "--set", own)


def test_a_step_whose_job_file_sizes_it_stays_as_it_is(tmp_path: Path) -> None:
    words, file = ("run", "job.yaml"), tmp_path / "job.yaml"
    file.write_text("run: {actors: 5}\n")
    assert sized(words, step(cpus=2), file) == words
    file.write_text("run: {retries: 5}\n")
    assert sized(words, step(cpus=2), file)[2:] == ("--set", "run.actors=2", "--set", "run.num_gpus=0")


@pytest.mark.parametrize("words", [("train", "vae"), ("export", "in", "out"), ("ct", "pool", "out"), ("eval", "vae")])
def test_commands_without_such_workers_stay_as_they_are(words: tuple[str, ...]) -> None:
    assert sized(words, step(cpus=2), None) == words


def test_a_step_that_states_no_cpus_runs_alone_and_takes_all() -> None:
    assert sized(EMBED, step(), None) == EMBED
