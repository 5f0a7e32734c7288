"""A baseline is known of data that is known, and of no other."""

from __future__ import annotations

from pixelmill.workers.models.depth_facts import DepthFacts, facts_of_stereo


def test_the_baseline_of_kitti_is_known_by_the_day_of_the_recording() -> None:
    assert facts_of_stereo("KITTI raw 2011_09_26_drive_0005, frames 0-99") == DepthFacts("disparity", 0.5327)


def test_of_other_pairs_no_baseline_is_assumed() -> None:
    assert facts_of_stereo("pairs of mine") == facts_of_stereo("") == DepthFacts("disparity")
