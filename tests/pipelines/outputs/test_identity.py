"""An output of another job is refused with every difference."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.outputs.identity import require_same
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import RunRefused
from tests.pipelines.outputs.by_hand import NAMES, publish


def test_another_job_is_refused_with_every_difference(folder: Folder, segments: list[Segment]) -> None:
    stored = {"source": {"uri": ["a"]}, "stages": [{"embed": {"model": "x", "layer": None}}]}
    wanted = {"source": {"uri": ["b"]}, "stages": [{"embed": {"model": "y", "layer": None}}]}
    with pytest.raises(RunRefused) as raised:
        require_same(stored, wanted, folder)  # type: ignore[arg-type]
    assert "source.uri.0: 'a' there, 'b' here" in str(raised.value)
    assert "stages.0.embed.model: 'x' there, 'y' here" in str(raised.value)
    assert "layer" not in str(raised.value)
    assert "can be deleted" in str(raised.value)
    require_same(stored, stored, folder)  # type: ignore[arg-type]
    publish(folder, 0, NAMES[:3])
    with pytest.raises(RunRefused) as raised:
        require_same(stored, wanted, folder)  # type: ignore[arg-type]
    assert "delete" not in str(raised.value)


def test_stages_of_other_kinds_are_named_without_their_options(folder: Folder) -> None:
    one, other = {"segment": {"model": "x"}}, {"upscale": {"scale": 2}}
    with pytest.raises(RunRefused) as raised:
        require_same({"stages": [one]}, {"stages": [other]}, folder)
    assert "  stages.0: 'segment' there, 'upscale' here\n" in str(raised.value)
    with pytest.raises(RunRefused) as raised:
        require_same({"stages": [one]}, {"stages": [one, other]}, folder)
    assert "  stages: ['segment'] there, ['segment', 'upscale'] here\n" in str(raised.value)
