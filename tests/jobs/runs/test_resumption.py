"""What a folder records is resumed from where the folder is now, with the places that it was begun with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pixelmill.jobs.host import scratch
from pixelmill.jobs.runs.folders import open_any
from pixelmill.jobs.runs.resumption import Recorded, recorded
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "moved/out"), Access())


def of(out: Folder, name: str, document: dict[str, Any]) -> Recorded:
    out.publish(f"_run/{name}.yaml", yaml.safe_dump(document).encode())
    return recorded(open_any(out.uri))


def document_of(found: Recorded) -> dict[str, Any]:
    return yaml.safe_load(found.text)


def test_the_output_is_the_folder_itself_and_keeps_its_options(out: Folder) -> None:
    found = of(out, "spec", {"version": 1, "source": "in", "out": {"uri": "old/out", "file_mb": 64}})
    assert document_of(found)["out"] == {"uri": out.uri, "file_mb": 64}
    assert (found.kind, found.name) == ("job", f"{out.uri}/_run/spec.yaml")
    assert document_of(of(out, "spec", {"version": 1, "source": "in", "out": "old/out"}))["out"] == out.uri


@pytest.mark.parametrize(
    ("source", "uris", "resumed"),
    [
        ("in", ["/home/a/in"], "/home/a/in"),
        ({"uri": "in", "anon": True}, ["/home/a/in"], {"uri": "/home/a/in", "anon": True}),
        (["in", "more"], ["/home/a/in", "/home/a/more"], ["/home/a/in", "/home/a/more"]),
        ("in", None, "in"),
    ],
)
def test_the_source_has_the_complete_places_that_the_run_began_with(
    out: Folder, source: object, uris: list[str] | None, resumed: object
) -> None:
    if uris is not None:
        out.publish("_run/identity.json", json.dumps({"source": {"uri": uris}}).encode())
    assert document_of(of(out, "spec", {"source": source, "out": "o"}))["source"] == resumed


def test_the_cluster_of_then_is_forgotten_and_other_settings_of_the_run_are_not(out: Folder) -> None:
    found = of(out, "spec", {"source": "in", "run": {"address": "head:6379", "actors": 2}})
    assert document_of(found)["run"] == {"actors": 2}
    assert "run" not in document_of(of(out, "spec", {"source": "in", "run": {"address": "head:6379"}}))


def test_a_training_keeps_its_data(out: Folder) -> None:
    found = of(out, "recipe", {"recipe": "vae", "data": "in", "out": "old"})
    assert (found.kind, document_of(found)) == ("training", {"recipe": "vae", "data": "in", "out": out.uri})


def test_a_flow_comes_with_the_files_of_its_steps_beside_it(out: Folder) -> None:
    out.publish("_run/steps/a.yaml", b"version: 1\n")
    found = of(out, "flow", {"version": 1, "out": "old", "steps": {}})
    try:
        place = Path(found.name)
        assert (found.kind, place.name) == ("flow", "flow.yaml")
        assert (place.parent / "steps/a.yaml").read_bytes() == b"version: 1\n"
    finally:
        scratch.remove(Path(found.name).parent)


def test_a_folder_in_which_nothing_is_recorded_yet_says_what_to_do(out: Folder) -> None:
    out.publish("_run/submissions/0001.json", b"{}")
    with pytest.raises(
        JobError, match=r"no attempt came so far as to record what it does .* submit or run its file again"
    ):
        recorded(open_any(out.uri))


def test_a_record_that_is_no_mapping_is_refused_by_its_name(out: Folder) -> None:
    out.publish("_run/spec.yaml", b"- a\n")
    with pytest.raises(JobError, match=r"_run/spec\.yaml"):
        recorded(open_any(out.uri))
