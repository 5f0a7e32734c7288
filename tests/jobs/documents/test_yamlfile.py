"""YAML that grows, or that nobody can read, is refused in a sentence; aliases are copies."""

from __future__ import annotations

import pytest

from pixelmill.jobs.training.job import read_recipe_file
from pixelmill.workers.errors import JobError
from tests.jobs.job_files import SMALLEST, load


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [ha, ha]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (laughs(30), "line 6: has more than 100,000 values, with its aliases written out"),
        ("a: " + "[" * 5_000, "is nested more than 40 deep"),
        ("a: " + "[" * 60 + "]" * 60, "is nested more than 40 deep"),
        ("\n".join(" " * n + "a:" for n in range(900)), "is nested more than 40 deep"),
        ("a: &a [*a]", r"\*a stands within what it repeats"),
        ("a: &a {b: {c: *a}}", r"\*a stands within what it repeats"),
        ("a: *b", "is not YAML"),
        ("a: " + "x" * (1 << 20), "characters, more than 1,048,576"),
        ("a: 2024-13-45", "holds a value that can't be read"),
        ("a: " + "9" * 5000, "holds a value that can't be read"),
        ("? [a, b]\n: c", "is not YAML"),
        ("a: !!python/object/apply:os.system [ls]", "is not YAML"),
    ],
)
def test_yaml_that_grows_or_that_nobody_can_read_is_a_sentence(text: str, fact: str) -> None:
    with pytest.raises(JobError, match=rf"job\.yaml: .*{fact}"):
        load(text)
    with pytest.raises(JobError):
        read_recipe_file(text, name="recipe.yaml", overrides=[], environment={})


def test_an_alias_says_the_same_twice_and_is_changed_once() -> None:
    text = SMALLEST.replace("- embed: {model", "- embed: &first {column: one, model") + "  - embed: *first\n"
    job = load(text, "stages.1.column=other", "stages.0.batch=3")
    assert [config.model_dump()["column"] for config in job.spec.configs] == ["one", "other"]
    assert [config.model_dump()["batch"] for config in job.spec.configs][1] != 3
    assert "&" not in job.to_yaml()
