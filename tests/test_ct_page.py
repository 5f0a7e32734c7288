"""The page on CT lists the reasons that the code gives, and the columns with the meanings that cards state."""

from __future__ import annotations

import re
from pathlib import Path

from pixelmill.workers.ct.phantom_archive import DEFECTS
from pixelmill.workers.decoders.ct_series import CtSeriesDecoder
from pixelmill.workers.decoders.ct_volume import CtVolumeDecoder

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/ct.md").read_text(encoding="utf-8")


def test_the_page_lists_every_reason_of_a_verdict_and_no_other() -> None:
    sources = [ROOT / "workers/ct/verdicts.py", ROOT / "workers/ct/object_files.py", ROOT / "pipelines/ct/series.py"]
    given = set[str]()
    for source in sources:
        given |= set(re.findall(r'f?"([a-z_0-9]+): [^"]', source.read_text(encoding="utf-8")))
    listed = set(re.findall(r"^\| `(\w+)` \| (?:2-D|3-D|both) \|", PAGE, re.MULTILINE))
    assert listed == given - {"kind"}  # of docstrings
    planted = {reason for defect in DEFECTS for reason in defect.expected.reasons_2d | defect.expected.reasons_3d}
    assert planted <= listed


def test_the_page_states_the_meanings_of_the_card() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ((?!2-D|3-D|both).*) \|$", PAGE, re.MULTILINE))
    assert {name: rows.get(name) for name in CtSeriesDecoder.meanings} == dict(CtSeriesDecoder.meanings)
    spacing = dict(re.findall(r"^\| `(\w+)` of blocks \| (.*) \|$", PAGE, re.MULTILINE))
    assert {name: (rows | spacing).get(name) for name in CtVolumeDecoder.meanings} == dict(CtVolumeDecoder.meanings)
