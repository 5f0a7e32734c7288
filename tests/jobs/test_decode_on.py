"""Decoding by other nodes is for stages that see crops of pictures; every other job is refused before anything starts."""

from __future__ import annotations

from pixelmill.pipelines.bulk.decode_nodes import DecodeNodes
from tests.jobs.job_files import SMALLEST, fault, load

DECODE_ON = "run.decode_on={tasks: 4, resources: {decoder: 1}}"


def test_stages_that_need_whole_pictures_are_refused_by_name_where_other_nodes_decode() -> None:
    with_masks = SMALLEST + "  - segment: {model: segnet-camvid, name: masks}\n"
    assert load(with_masks).spec.run.decode_on is None
    found = fault(with_masks, DECODE_ON)
    assert "run.decode_on: stage masks needs whole pictures, and crops alone are sent between nodes" in found
    assert "leave run.decode_on out, or run masks as a job of its own" in found


def test_decoders_of_more_than_a_picture_are_refused_where_other_nodes_decode() -> None:
    of_ct = SMALLEST.replace("source: s3://photos/2024", "source: {uri: s3://scans, decoder: ct-series}")
    found = fault(of_ct, DECODE_ON)
    assert "run.decode_on: the decoder ct-series makes more of an input than one picture" in found


def test_the_options_of_decoding_elsewhere_are_those_of_its_tasks() -> None:
    asked = load(SMALLEST, DECODE_ON, "run.decode_on.in_flight_mb=16", "run.decode_on.label_selector={kind: cheap}")
    assert asked.spec.run.decode_on is not None
    assert asked.spec.run.decode_on.nodes() == DecodeNodes(4, 1, {"decoder": 1}, {"kind": "cheap"}, 16 << 20)
    assert asked.identity() == load(SMALLEST).identity()
    assert "resources: CPU is no custom resource" in fault(SMALLEST, "run.decode_on={tasks: 1, resources: {CPU: 1}}")
    assert "did you mean tasks" in fault(SMALLEST, "run.decode_on={task: 1}")
