"""What `ct ingest` wrote is recognised as slices, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.jobs.ct import source
from pixelmill.jobs.ct.source import with_decoder
from tests.ct_slices import Series, ingested, ramp


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = ingested(tmp_path / "out", {"part-000000.parquet": [Series("a", ramp(), range(5))]})
    (folder / "_run/spec.yaml").write_text("# attempt 1\nversion: 1\nstages:\n- hu\n")
    return folder


@pytest.mark.parametrize("written", ["- hu", "- hu: {column: hu}", "- {hu: null}"])
def test_slices_are_read_with_their_decoder(out: Path, written: str) -> None:
    (out / "_run/spec.yaml").write_text(f"version: 1\nstages:\n{written}\n")
    for place in (str(out), f"{out}/", f"{out}/data"):
        assert with_decoder(place, "embed") == {"uri": place, "decoder": "hu"}


def test_blocks_are_read_with_theirs_by_every_stage_that_takes_slices(out: Path) -> None:
    (out / "_run/spec.yaml").write_text("version: 1\nsource: {uri: index, decoder: ct-volume}\nstages:\n- hu\n")
    for stage in ("embed", "segment"):
        assert with_decoder(str(out), stage) == {"uri": str(out), "decoder": "hu-block"}


@pytest.mark.parametrize("spec", ["version: 1\nstages:\n- embed\n", "version: 1\n", "stages: hu\n", "- hu\n", "{", ""])
def test_another_run_is_a_source_as_it_was(out: Path, spec: str) -> None:
    (out / "_run/spec.yaml").write_text(spec)
    assert with_decoder(str(out), "embed") == str(out)


@pytest.mark.parametrize("place", ["photos", "", "photos/*.jpg", "http://127.0.0.1:9/x", "nothing://x", "a\0b"])
def test_what_is_no_run_is_a_source_as_it_was(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert with_decoder(place, "embed") == place


def test_a_stage_that_takes_no_slices_does_not_look_at_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(source, "_decoder_of", lambda uri: looked.append(uri) or "hu")
    assert with_decoder("photos", "depth") == "photos"
    assert looked == []
    assert with_decoder("photos", "embed") == {"uri": "photos", "decoder": "hu"}
