"""What the workers of a bulk job are given follows from the job, its plan and what is there already."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.milling import mill_config, record_settings
from pixelmill.jobs.planning import make_plan
from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.terminal.display import Terminal
from pixelmill.pipelines.bulk.decode_nodes import DecodeNodes
from pixelmill.pipelines.bulk.mill_config import MillConfig
from pixelmill.pipelines.outputs.completion import Weights
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.workers.decoders import DECODERS
from pixelmill.workers.runtime.memory import FOR_BATCHES
from pixelmill.workers.stages import StageContext
from tests.jobs.job_files import SMALLEST, load

LIMITS = ("source.in_flight=3", "source.max_bytes=1000", "source.max_pixels=2000", "source.column=photo")
READING = ("source.profile=reader", "source.anon=true", "source.timeout_s=7", "source.retry_for_s=9")


def config(*overrides: str, rows: int = 100, weights: Weights | None = None) -> MillConfig:
    """Of a job with four workers, over a segment of two parts."""
    job = load(SMALLEST, "run.actors=4", *overrides)
    out = job.open_out()
    plan = make_plan(job.spec.run, Machine(8, 0, 1 << 34), None, None)
    segments = [Segment(0, 100, (100,), (60, 40), 0)]
    return mill_config(job, out, job.source(out), plan, segments, weights, rows=rows, cache_dir=Path("/cache"))


def test_it_fetches_with_the_limits_that_the_source_has() -> None:
    made = config(*LIMITS)
    assert (made.fetch.in_flight, made.fetch.max_bytes, made.max_pixels, made.column) == (3, 1000, 2000, "photo")
    assert [segment.part_rows for segment in made.segments] == [(60, 40)]


def test_the_options_of_source_and_output_reach_the_mill() -> None:
    made = config(*READING, "out.profile=writer")
    assert (made.source_access.profile, made.source_access.anon) == ("reader", True)
    assert (made.out_access.profile, made.out_access.anon) == ("writer", False)
    for access in (made.source_access, made.out_access):
        assert (access.timeout_s, access.retry_for_s) == (7, 9)
    assert made.out == "s3://results/2024"


def test_each_worker_expects_its_share_of_the_rows_that_are_left() -> None:
    made = config(rows=103)
    assert made.memory_bytes is not None
    assert made.context == StageContext("cpu", 2, 25, Path("/cache"), made.memory_bytes // FOR_BATCHES)


def test_the_weights_so_far_the_stages_and_the_limits_of_a_worker_are_those_of_the_job() -> None:
    made = config("run.stall_s=5", "run.memory_gb=2", "run.decode_threads=3", weights={"embedding": "abc"})
    assert made.weights == {"embedding": "abc"}
    assert (made.stall_s, made.memory_bytes, made.decode_threads) == (5, 2 << 30, 3)
    assert [stage.columns() for stage in made.stages] == [("embedding",)]


def test_where_others_decode_reaches_the_workers() -> None:
    assert config().decode_on is None
    job = load(SMALLEST, "run.decode_on={tasks: 4, cpus: 2, resources: {decoder: 1}}")
    plan = make_plan(load(SMALLEST, "run.actors=4").spec.run, Machine(8, 0, 1 << 34), None, None)
    made = mill_config(job, job.open_out(), job.source(job.open_out()), plan, [], None, rows=1, cache_dir=None)
    assert made.decode_on == DecodeNodes(4, 2, {"decoder": 1})


def test_a_decoder_travels_as_its_place_and_all_of_it_to_another_machine() -> None:
    made = config()
    assert made.decoder == DECODERS["picture"]
    assert pickle.loads(pickle.dumps(made)) == made


def test_a_licence_without_commercial_use_is_warned_of_once_a_stage() -> None:
    shown = io.StringIO()
    events = EventStream(Terminal(shown, is_terminal=False), "run", lambda: 5.0)
    events.begin(1)
    settings = {"microbatch": 8, "licence": "cc-by-nc-4.0"}
    record_settings(events, {"segment": settings, "embed": {"licence": "mit"}, "depth": {"microbatch": 4}})
    assert len(events.status.warnings) == 1
    assert events.status.warnings[0].startswith("segment: the weights of its model are licensed as cc-by-nc-4.0")
    record_settings(events, {"segment": settings | {"microbatch": 4}})
    assert events.status.settings["segment"] == settings | {"microbatch": 4}
    assert shown.getvalue().count("licensed as cc-by-nc-4.0") == len(events.status.warnings) == 1
    record_settings(events, {"depth": {"licence": "research only"}})
    assert len(events.status.warnings) == 2
