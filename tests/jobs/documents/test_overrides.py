"""`--set` changes a document as if the file had said so, or is refused."""

from __future__ import annotations

import pytest

from tests.jobs.job_files import SMALLEST, fault, load


def test_set_reaches_stages_with_and_without_their_kind() -> None:
    for path in ("stages.0.batch=8", "stages.0.embed.batch=8"):
        assert load(SMALLEST, path).spec.configs[0].model_dump()["batch"] == 8


def test_set_reaches_into_a_source_that_was_written_short() -> None:
    job = load(SMALLEST, "source.limit=5", "out.file_mb=64")
    assert job.spec.source_options.limit == 5
    assert job.spec.source_uris == ("s3://photos/2024",)
    assert job.spec.out_options.file_mb == 64


def test_set_reaches_what_was_left_out_or_empty() -> None:
    assert load(SMALLEST, "run.actors=2").spec.run.actors == 2
    assert load(SMALLEST + "run:\n", "run.actors=2").spec.run.actors == 2
    short = SMALLEST[: SMALLEST.index("  - embed")] + "  - embed\n  - embed:\n"
    assert [c.columns() for c in load(short, "stages.0.column=a", "stages.1.column=b").spec.configs] == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("**/*.jpg", "**/*.jpg"),
        ("'*.jpg'", "*.jpg"),
        ("[ab].jpg", "[ab].jpg"),
        ("a=b", "a=b"),
        ("null", None),
        ("", None),
    ],
)
def test_set_takes_a_pattern_as_a_shell_gives_it(value: str, expected: str | None) -> None:
    assert load(SMALLEST, f"source.pattern={value}").spec.source_options.pattern == expected


@pytest.mark.parametrize("value", ["0", "yes please", "1.5", "[1]", "{}"])
def test_what_set_gives_is_checked_like_what_the_file_says(value: str) -> None:
    assert "source.limit" in fault(SMALLEST, f"source.limit={value}")


@pytest.mark.parametrize(
    "override", ["stages.0.batch", "stages.7.batch=1", "stages.x.batch=1", "version.x=1", "stages.0.embed.model.x=1"]
)
def test_a_set_that_reaches_nothing_is_refused(override: str) -> None:
    assert f"--set {override}" in fault(SMALLEST, override)


def test_an_override_can_not_grow_either() -> None:
    """What is no YAML is the text itself."""
    assert load(SMALLEST, "source=" + "[" * 3000).spec.source_uris == ("[" * 3000,)
