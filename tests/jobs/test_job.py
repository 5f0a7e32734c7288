"""The job file: what is wrong is said with path, line and suggestion, and nothing secret is ever written."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pixelmill.jobs import spec
from pixelmill.jobs.documents.parsing import read_file
from pixelmill.jobs.identity import spelled_before
from pixelmill.jobs.job import Job, read_job
from pixelmill.jobs.places import absolute
from pixelmill.jobs.training_job import read_recipe_file
from pixelmill.workers.errors import JobError

EXAMPLES = sorted((Path(spec.__file__).parent / "examples").glob("*.yaml"))
SMALLEST = """\
version: 1
source: s3://photos/2024
out: s3://results/2024
stages:
  - embed: {model: "torchvision:resnet18/random"}
"""


def load(text: str, *overrides: str, **environment: str) -> Job:
    return read_job(text, name="job.yaml", overrides=list(overrides), environment=environment)


def fault(text: str, *overrides: str) -> str:
    with pytest.raises(JobError) as raised:
        load(text, *overrides)
    return str(raised.value)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_valid_job_and_fits_the_schema(path: Path) -> None:
    text = path.read_text()
    job = load(text)
    assert job.identity()["stages"]
    Draft202012Validator.check_schema(spec.schema())
    Draft202012Validator(spec.schema()).validate(yaml.safe_load(text))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize(
    "change",
    [
        ("model:", "modle:"),
        ("embed:", "embd:"),
        ("version: 1", "version: 2"),
        ("out:", "output:"),
        ("embed: {", "embed: {batch: 0, "),
    ],
)
def test_the_schema_refuses_what_the_command_refuses(change: tuple[str, str]) -> None:
    text = SMALLEST.replace(*change)
    assert not Draft202012Validator(spec.schema()).is_valid(yaml.safe_load(text))
    fault(text)


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_key() -> None:
    message = fault(SMALLEST.replace("model:", "modle:"))
    assert "stages.0.embed.modle (line 5)" in message
    assert "did you mean model?" in message


def test_an_unknown_stage_is_answered_with_the_stages_that_there_are() -> None:
    assert "did you mean embed?" in fault(SMALLEST.replace("embed:", "embd:"))


@pytest.mark.parametrize(
    ("text", "override", "line"),
    [
        ("run: {actors: -1}", "", "run.actors (line 6): should be greater than 0 or 'auto', not -1"),
        ("run: {actors: many}", "", "run.actors (line 6): should be a valid integer or 'auto', not 'many'"),
        ("run: {max_failed_fraction: 7}", "", "run.max_failed_fraction (line 6): should be less than or equal to 1, not 7"),
        ("run: 3", "", "run (line 6): should be a mapping, not 3"),
        ("", "stages.0.compile=maybe", "stages.0.embed.compile (line 5): should be a valid boolean or 'auto', not 'maybe'"),
        ("", "stages.0.pooling=mean", "should be 'auto', 'avg', 'max', 'stats', 'cls' or 'flatten', not 'mean'"),
        ("", "source.uri=[a, 5]", "source.uri.1 (line 2): should be a valid string, not 5"),
        ("", "source=5", "source (line 2): should be a valid string, not 5"),
        ("", "source.in_flight=0", "source.in_flight (line 2): should be greater than 0, not 0"),
        ("", "stages.0={}", "stages.0 (line 5): a stage names exactly one of: embed"),
        ("", "stages=[]", "stages (line 4): list should have at least 1 item"),
    ],
)  # fmt: skip
def test_each_wrong_value_is_one_readable_line(text: str, override: str, line: str) -> None:
    head, *lines = fault(f"{SMALLEST}{text}\n", *filter(None, [override])).splitlines()
    assert head == "job.yaml: this job can't be run"
    assert len(lines) == 1
    assert line in lines[0]


def test_all_faults_are_told_at_once() -> None:
    message = fault(SMALLEST.replace("version: 1\n", "") + "run: {actors: -1, acters: 2}\nlimit: 3\n")
    assert [line.split()[0].rstrip(":") for line in message.splitlines()[1:]] == [
        "version",
        "run.actors",
        "run.acters",
        "limit",
    ]


def test_a_missing_key_is_named() -> None:
    assert "out: is missing" in fault(SMALLEST.replace("out: s3://results/2024\n", ""))


def test_text_that_is_no_yaml_is_refused_with_its_line() -> None:
    assert "job.yaml, line 3" in fault("version: 1\nsource: a\nout: [b\n")
    assert "line 2" in fault("version: 1\n\tsource: a\n")
    for text in ("", "- embed", "embed"):
        assert "a job file is a mapping with version, source, out and stages" in fault(text)


def test_a_key_that_stands_twice_is_refused_and_not_overridden_in_silence() -> None:
    assert "source (line 6): stands here a second time" in fault(SMALLEST + "source: other\n")
    assert "model (line 5): stands here a second time" in fault(SMALLEST.replace("model:", "model: a, model:"))


def test_a_misspelt_model_is_refused_before_anything_starts() -> None:
    assert "resnet18" in fault(SMALLEST.replace("resnet18/random", "resnet81"))


@pytest.mark.parametrize(
    "uri",
    [
        "https://user:hunter2@host/x",
        "s3://AKIAXXXX:hunter2@bucket/x",
        "https://host/a.jpg?X-Amz-Signature=hunter2",
        "https://host/a.jpg?token=hunter2",
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(uri: str) -> None:
    message = fault(SMALLEST, f"source={uri}")
    assert "carries credentials" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "place", ["source.uri=[a, {}]", "out={}", "out.uri={}", "run.address={}", "stages.0.model={}", "source.pattern={}"]
)
@pytest.mark.parametrize("text", ["https://user:hunter2@host/x", "s3://b/x?sig=hunter2", "AKIAABCDEFGHHUNTER22"])
def test_credentials_are_refused_wherever_they_hide(place: str, text: str) -> None:
    message = fault(SMALLEST, place.replace("{}", text))
    assert "carries credentials" in message
    assert "hunter2" not in message.lower()
    assert "carries credentials" in fault_with(SMALLEST, place.replace("{}", "${HIDDEN}"), HIDDEN=text)


def fault_with(text: str, *overrides: str, **environment: str) -> str:
    with pytest.raises(JobError) as raised:
        load(text, *overrides, **environment)
    return str(raised.value)


@pytest.mark.parametrize("place", ["source.", "out.", "run.", "stages.0.", ""])
@pytest.mark.parametrize(
    "key", ["key", "secret", "token", "password", "aws_secret_access_key", "session_token", "credentials", "api_key"]
)
def test_credentials_have_no_key_in_a_job_file(place: str, key: str) -> None:
    message = fault(SMALLEST, f"{place}{key}=hunter2")
    assert "credentials never go into a job file" in message
    assert "hunter2" not in message


def test_a_value_that_is_repeated_in_a_fault_is_scrubbed() -> None:
    assert "hunter2" not in fault(SMALLEST, "source.in_flight=https://user:hunter2@host")


def test_the_environment_is_referred_to_and_never_written() -> None:
    text = SMALLEST.replace("photos/2024", "${BUCKET}/${YEAR:-2024}")
    job = load(text, BUCKET="secret-bucket")
    assert job.spec.source_uris == ("s3://secret-bucket/2024",)
    assert "secret-bucket" not in job.to_yaml() + str(job.identity())
    assert "${BUCKET}" in job.to_yaml()


def test_another_value_of_the_environment_is_another_job() -> None:
    text = SMALLEST.replace("photos/2024", "${BUCKET}")
    assert load(text, BUCKET="a").identity() != load(text, BUCKET="b").identity()


def test_a_variable_that_is_not_set_is_named() -> None:
    assert "${BUCKET} is not set" in fault(SMALLEST.replace("photos", "${BUCKET}"))


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


def test_what_only_concerns_speed_is_not_part_of_a_jobs_identity() -> None:
    fast = load(SMALLEST, "stages.0.batch=8", "run.actors=1", "source.in_flight=4", "source.limit=9")
    assert fast.identity() == load(SMALLEST).identity()


@pytest.mark.parametrize(
    "override", ["stages.0.output=float16", "stages.0.layer=layer2", "source=s3://other", "source.max_pixels=5"]
)
def test_what_decides_the_output_is_part_of_a_jobs_identity(override: str) -> None:
    assert load(SMALLEST, override).identity() != load(SMALLEST).identity()


def test_the_document_of_a_job_is_the_same_job() -> None:
    text = SMALLEST.replace("photos/2024", "${BUCKET:-photos}/2024")
    job = load(text, "run.actors=3", "source.limit=7", BUCKET="secret")
    again = load(job.to_yaml(), BUCKET="secret")
    assert again.spec == job.spec
    assert again.identity() == job.identity()
    assert load(job.to_yaml()).spec.source_uris == ("s3://photos/2024",)


@pytest.mark.parametrize("column", ["id", "uri", "member", "width", "height"])
def test_a_column_that_every_output_has_is_refused(column: str) -> None:
    assert f"two columns would be called {column}" in fault(SMALLEST, f"stages.0.column={column}")


def test_a_job_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"gone\.yaml: there is no such job file"):
        read_file(str(tmp_path / "gone.yaml"))
    (tmp_path / "latin.yaml").write_bytes("source: caf\u00e9".encode("latin-1"))
    with pytest.raises(JobError, match=r"latin\.yaml: can't be read"):
        read_file(str(tmp_path / "latin.yaml"))


def test_two_columns_of_one_name_are_refused() -> None:
    twice = SMALLEST + '  - embed: {model: "torchvision:resnet34/random"}\n'
    assert "two columns would be called embedding" in fault(twice)
    assert len(load(twice, "stages.1.column=other").spec.configs) == 2


# ------------------------------------------------------------------------------------------- values of the environment

CANARY = "Zx9Canary7Q"


@pytest.mark.parametrize(
    "override",
    [
        "source.in_flight=${SECRET}",
        "source.in_flight=a${SECRET}b",
        "source.format=${SECRET}",
        "source.anon=${SECRET}",
        "source.uri=[1, {a: '${SECRET}'}]",
        "out={uri: [ '${SECRET}' ]}",
        "stages.0.model=${SECRET}",
        "stages.0.model=torchvision:${SECRET}",
        "stages.0.model=torchvision:resnet18/${SECRET}",
        "stages.0.model=timm:${SECRET}",
        "stages.0.model=${SECRET}.safetensors",
        "stages.0.model=${SECRET}.pkl",
        "stages=[{embed: {column: '${SECRET}'}}, {embed: {column: '${SECRET}'}}]",
        "run.actors=${SECRET}",
        "version=${SECRET}",
        "stages=${SECRET}",
        "stages=[{embed: ${SECRET}}, ${SECRET}]",
    ],
)
@pytest.mark.parametrize(
    "form", [CANARY, f"x {CANARY}'\"\\", f"{CANARY}/{CANARY}", f"torchvision:{CANARY}", f"resnet18{CANARY}"]
)
def test_a_wrong_value_of_the_environment_is_shown_as_its_reference(override: str, form: str) -> None:
    message = fault_with(SMALLEST, override, SECRET=form)
    assert CANARY.casefold() not in message.casefold()


def test_the_reason_stays_where_it_does_not_show_the_value() -> None:
    message = fault_with(SMALLEST, "stages.0.model=torchvision:resnet18/${SECRET}", SECRET=CANARY)
    assert "model torchvision:resnet18/${SECRET}: resnet18 has no weights ${SECRET}; it has IMAGENET1K_V1" in message


def test_where_the_reason_shows_a_part_of_the_value_the_reference_is_all_that_is_said() -> None:
    message = fault_with(SMALLEST, "stages.0.model=${SECRET}", SECRET=f"torchvision:{CANARY}")
    assert message.startswith("job.yaml: a value of the environment can't be used: ${SECRET}; ")
    assert CANARY not in message


def test_the_reference_of_a_wrong_value_is_named_even_when_the_value_is_short() -> None:
    for value in ("abc", CANARY):
        message = fault_with(SMALLEST, "source.in_flight=${SECRET}", SECRET=value)
        assert "the value of ${SECRET} is not" in message
        assert value not in message


def test_credentials_of_the_environment_are_shown_as_their_reference() -> None:
    message = fault_with(SMALLEST, "source=${PLACE}/photos", PLACE=f"https://user:{CANARY}@{CANARY}.org")
    assert "${PLACE}/photos carries credentials" in message
    assert CANARY not in message


def test_a_job_file_below_a_folder_of_the_environment_is_named_as_it_is() -> None:
    with pytest.raises(JobError, match=r"^/home/alexander/job\.yaml: this job can't be run"):
        read_job(
            SMALLEST + "colour: ${HOME}\n", name="/home/alexander/job.yaml", overrides=[],
            environment={"HOME": "/home/alexander"},
        )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- YAML that grows


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


def test_an_override_can_not_grow_either() -> None:
    """What is no YAML is the text itself."""
    assert load(SMALLEST, "source=" + "[" * 3000).spec.source_uris == ("[" * 3000,)


def test_an_alias_says_the_same_twice_and_is_changed_once() -> None:
    text = SMALLEST.replace("- embed: {model", "- embed: &first {column: one, model") + "  - embed: *first\n"
    job = load(text, "stages.1.column=other", "stages.0.batch=3")
    assert [config.model_dump()["column"] for config in job.spec.configs] == ["one", "other"]
    assert [config.model_dump()["batch"] for config in job.spec.configs][1] != 3
    assert "&" not in job.to_yaml()


# ------------------------------------------------------------------------------------------------ one place, one source


def placed(uri: str) -> Job:
    return load(SMALLEST.replace("s3://photos/2024", uri))


def older_identity(uri: str) -> dict[str, Any]:
    """What runs wrote down before places had one spelling: the user's words, and a hash of them."""
    words = uri if "://" in uri else os.path.abspath(uri)
    digest = hashlib.sha256(json.dumps([words]).encode()).hexdigest()[:16]
    return {"source": {"uri": [uri], "uri_sha256": digest}}


def now(uri: str) -> tuple[str, ...]:
    return tuple(absolute(each) for each in placed(uri).spec.source_uris)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "real/pics").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real/pics")
    monkeypatch.chdir(tmp_path / "real")
    return str(tmp_path)


WAYS = [
    "pics",
    "pics/",
    "./pics",
    "{}/real/pics",
    "file://{}/real/pics/",
    "file://localhost{}/real/pics",
    "../link",
    "{}/link/",
]


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("again", WAYS)
def test_a_place_in_another_spelling_is_the_same_source_and_is_listed_under_its_first_name(
    place: str, first: str, again: str
) -> None:
    first, again = first.format(place), again.format(place)
    assert spelled_before(placed(first).identity(), now(again)) == now(first)


@pytest.mark.parametrize("first", [way for way in WAYS if "localhost" not in way])
@pytest.mark.parametrize("again", WAYS)
def test_runs_of_before_are_resumed_under_their_own_names(place: str, first: str, again: str) -> None:
    first, again = first.format(place), again.format(place)
    listed_as = os.path.abspath(first.removeprefix("file://"))
    assert spelled_before(older_identity(first), now(again)) == (listed_as,)


@pytest.mark.parametrize(("first", "again"), [("s3://b", "s3://b/"), ("s3://b/", "s3://b"), ("s3a://b/k/", "s3://b/k")])
def test_buckets_are_the_same_with_and_without_a_slash(first: str, again: str) -> None:
    for stored in (placed(first).identity(), older_identity(first)):
        assert spelled_before(stored, now(again)) == (now(again)[0],)


def test_another_place_is_another_source(place: str) -> None:
    for other in ("elsewhere", "pics/2024", "s3://pics", "."):
        assert spelled_before(placed("pics").identity(), now(other)) is None
        assert spelled_before(older_identity("pics"), now(other)) is None


def test_a_place_that_the_environment_names_is_found_again_by_its_link(place: str) -> None:
    first = load(SMALLEST.replace("s3://photos/2024", "${PICS}"), PICS=f"{place}/real/pics")
    assert spelled_before(first.identity(), now(f"{place}/link")) == (f"{place}/real/pics",)
