"""Stages of a job file: what does not fit is refused at its line, and what was left out means what it always meant."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pixelmill.jobs import spec, stage_entries
from pixelmill.jobs.job import read_job
from pixelmill.pipelines.outputs import columns
from pixelmill.workers.decoders import DECODERS
from pixelmill.workers.errors import JobError
from pixelmill.workers.stages import STAGES
from tests.toys.registered import toy_stages

HEAD = "version: 1\nsource: /data/in\nout: /data/out\nstages:\n"


@pytest.fixture
def toys() -> Iterator[None]:
    with toy_stages():
        yield


def fault(text: str) -> str:
    with pytest.raises(JobError) as caught:
        read_job(text, name="job.yaml", overrides=[], environment={})
    return str(caught.value)


def identity(text: str) -> str:
    return json.dumps(read_job(text, name="job.yaml", overrides=[], environment={}).identity(), sort_keys=True)


GOLDEN = (
    '{"source": {"column": null, "format": "auto", "max_bytes": 268435456, "max_pixels": 178956970, "pattern": null, '
    '"uri": ["/data/in"], "uri_sha256": "09830a228e7aa5cf"}, "stages": [{"embed": {"column": "a", "layer": null, '
    '"model": "torchvision:resnet18/random", "output": "float32", "pooling": "auto", "precision": "auto"}}, '
    '{"embed": {"column": "b", "layer": "layer3", "model": "torchvision:resnet18/random", "output": "float16", '
    '"pooling": "auto", "precision": "auto"}}], "version": 1}'
)
"""Of the job below, as versions wrote it that knew neither names, inputs nor decoders."""

TWO = (
    HEAD
    + "  - embed: {model: 'torchvision:resnet18/random', column: a}\n"
    + "  - embed: {model: 'torchvision:resnet18/random', layer: layer3, column: b, output: float16, batch: 7}\n"
)


def test_a_job_without_names_inputs_and_decoder_is_the_job_that_it_was() -> None:
    whole = TWO.replace("/data/in\n", "{uri: /data/in, decode: full}\n")
    assert identity(whole) == GOLDEN
    assert identity(whole.replace("decode: full", "decode: full, decoder: picture")) == GOLDEN


def test_a_job_that_may_decode_fractions_says_so() -> None:
    assert json.loads(identity(TWO))["source"] == json.loads(GOLDEN)["source"] | {"decode": "auto"}


def test_a_name_and_an_input_are_part_of_the_job() -> None:
    named = TWO.replace("column: a", "column: a, name: first").replace("column: b", "column: b, from: original")
    assert identity(named) != GOLDEN
    first, second = json.loads(identity(named))["stages"]
    assert (first["embed"]["name"], "from" in first["embed"]) == ("first", False)
    assert (second["embed"]["from"], "name" in second["embed"]) == ("original", False)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (
            "  - threshold\n  - embed:\n      from: threshold\n",
            "stages.1.embed.from (line 7): embed takes hu16, rgb8 or volume, and threshold gives ids8",
        ),
        (
            "  - invert: {name: negative}\n  - embed:\n      model: torchvision:resnet18/random\n      from: negativ\n",
            "stages.1.embed.from (line 8): no stage is called negativ; did you mean negative?",
        ),
        (
            "  - embed: {model: torchvision:resnet18/random, from: ''}\n",
            "stages.0.embed.from (line 5): string should have at least 1 character",
        ),
        (
            "  - embed: {model: torchvision:resnet18/random, from: masks}\n",
            "stages.0.embed.from (line 5): no stage is called masks; leave from out to read the original picture",
        ),
        (
            "  - invert: {name: a, from: b}\n  - invert: {name: b, from: a}\n",
            "stages.0.invert.from (line 5): these stages wait for each other's pictures: a -> b -> a",
        ),
        (
            "  - embed: {column: a}\n  - embed:\n      column: b\n      from: embed\n",
            "stages.1.embed.from (line 8): embed takes hu16, rgb8 or volume, and embed makes no picture",
        ),
        (
            "  - invert: {name: a}\n  - embed: {name: a}\n",
            "stages.0.invert.name (line 5): a is the name of something else",
        ),
        ("  - embed: {name: 'two words'}\n", "stages.0.embed.name (line 5)"),
        ("  - embed: {form: original}\n", "stages.0.embed.form (line 5): unknown key; did you mean from?"),
        ("  - treshold\n", "stages.0.treshold (line 5): unknown key; did you mean threshold?"),
        ("  - threshold: {levle: 3}\n", "stages.0.threshold.levle (line 5): unknown key; did you mean level?"),
        ("  - threshold: {level: 300}\n", "stages.0.threshold.level (line 5)"),
        ("  - embed\n    threshold:\n", "job.yaml"),
        ("  - embed: {}\n    threshold: {}\n", "a stage names exactly one of: embed, "),
        ("  - threshold\n  - threshold\n", "two columns would be called bright_fraction"),
    ],
)
def test_stages_that_cant_be_run_are_refused_at_their_line(toys: None, stages: str, message: str) -> None:
    assert message in fault(HEAD + stages)


def test_a_decoder_that_is_not_there_is_refused_with_the_nearest_one() -> None:
    text = TWO.replace("/data/in\n", "\n  uri: /data/in\n  decoder: pictures\n")
    assert "source.decoder (line 4): no decoder is called pictures; did you mean picture?" in fault(text)


def test_a_stage_that_is_registered_is_a_stage_of_the_job_file_and_its_schema(toys: None) -> None:
    job = read_job(HEAD + "  - threshold: {level: 7}\n  - invert\n", name="job.yaml", overrides=[], environment={})
    assert [config.stage for config in job.spec.configs] == ["threshold", "invert"]
    schema = json.dumps(spec.schema())
    assert all(f'"{kind}"' in schema for kind in STAGES)
    assert "what is above it is 1, the rest 0" in schema


def test_a_stage_that_is_not_registered_is_none() -> None:
    assert "threshold" not in STAGES
    assert "unknown key" in fault(HEAD + "  - threshold\n")
    assert '"threshold"' not in json.dumps(spec.schema())


@pytest.mark.parametrize("column", [*stage_entries.INPUT_COLUMNS, *stage_entries.FAILURE_COLUMNS])
def test_a_column_that_every_row_has_is_no_stages(column: str) -> None:
    assert f"two columns would be called {column}" in fault(HEAD + f"  - embed: {{column: {column}}}\n")


def test_the_columns_that_every_row_has_are_those_of_the_output() -> None:
    assert tuple(field.name for field in columns.input_fields(has_source_ids=True)) == stage_entries.INPUT_COLUMNS
    assert stage_entries.FAILURE_COLUMNS == columns.ERROR_COLUMNS


def test_a_decoder_that_makes_many_rows_brings_columns_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DECODERS, "stack", "tests.pipelines.bulk.test_many_rows:StackDecoder")
    text = HEAD.replace("/data/in\n", "{uri: /data/in, decoder: stack}\n")
    for column in ("place", "level", "note"):
        assert f"two columns would be called {column}" in fault(text + f"  - embed: {{column: {column}}}\n")
    read = json.loads(identity(text + "  - embed: {column: e, model: 'torchvision:resnet18/random'}\n"))
    assert read["source"]["decoder"] == "stack"
