"""One place is one source in whatever spelling, and a run is resumed under the first of them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pixelmill.jobs.identity import resumed_source, spelled_before
from pixelmill.jobs.job import Job
from pixelmill.jobs.places import absolute
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import RunRefused
from tests.jobs.job_files import SMALLEST, load


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


def stored(*stages: dict[str, object]) -> Any:
    return {"version": 1, "source": placed("pics").identity()["source"], "stages": list(stages)}


MASKS: dict[str, object] = {"model": "m", "weights_sha256": "w"}


def resumed(out: Path, there: Any, here: Any) -> None:
    folder = Folder(str(out), Access())
    resumed_source(folder, json.dumps(there).encode(), here, placed("pics").source(folder), retry=False)


def test_an_output_with_other_class_names_is_refused_and_one_that_lacks_them_is_resumed(
    place: str, tmp_path: Path
) -> None:
    here = stored({"segment": MASKS | {"classes": ["sky", "road"], "colours": [[0, 0, 0], [1, 1, 1]]}})
    resumed(tmp_path, here, here)
    resumed(tmp_path, stored({"segment": MASKS}), here)
    with pytest.raises(RunRefused, match=r"stages\.0\.segment\.classes\.1: 'street' there, 'road' here"):
        resumed(tmp_path, stored({"segment": MASKS | {"classes": ["sky", "street"]}}), here)
    with pytest.raises(RunRefused, match="weights_sha256"):
        resumed(tmp_path, stored({"segment": MASKS | {"weights_sha256": "v"}}), here)


def decoding(how: str | None) -> Any:
    identity = stored({"embed": MASKS})
    source = {key: value for key, value in identity["source"].items() if key != "decode"}
    return identity | {"source": source | ({} if how is None else {"decode": how})}


@pytest.mark.parametrize("retry", [False, True])
def test_an_output_that_was_made_of_whole_pictures_is_continued_with_whole_ones(
    place: str, tmp_path: Path, retry: bool
) -> None:
    folder, source = Folder(str(tmp_path), Access()), placed("pics").source(Folder(str(tmp_path), Access()))
    assert not source.decodes_whole
    before = json.dumps(decoding(None)).encode()
    assert resumed_source(folder, before, decoding("auto"), source, retry=retry).decodes_whole
    fractions = json.dumps(decoding("auto")).encode()
    assert not resumed_source(folder, fractions, decoding("auto"), source, retry=retry).decodes_whole
    with pytest.raises(RunRefused, match=r"source\.decode: 'auto' there"):
        resumed_source(folder, fractions, decoding(None), source, retry=retry)
