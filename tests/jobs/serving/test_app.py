"""What the server answers for a run: rows, pictures, points, neighbours, groups, failures, and a plain word for what it can't."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.pipelines.outputs.columns import INPUT_FIELDS
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from tests.jobs.conftest import model_file
from tests.jobs.serving.served import Served, explored_run, numbers_in, served, uint16
from tests.jobs.test_querying import embedded
from tests.pipelines.export.drawn import BLUE, make_run
from tests.pipelines.findings.explored import TEXTS, add_part, directions, noise, open_out


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    return explored_run(tmp_path / "run")


@pytest.fixture
def at(run: Folder, tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "t", run.uri) as found:
        yield found


def rows(at: Served, *filters: list[Any], **asked: Any) -> list[str]:
    page = at.json(f"/api/runs/0/rows?{urlencode({'filters': json.dumps(filters), **asked})}")
    return [row["id"] for row in page["rows"]]


def names(*numbers: int) -> list[str]:
    return [f"id-{'abc'[number // 8]}/{number:04d}" for number in numbers]


def typed(*words: str) -> None:
    CliRunner().invoke(cli.app, list(words), catch_exceptions=False)


def error(at: Served, path: str) -> tuple[int, str]:
    reply = at.get(path)
    return reply.status, reply.json["error"]


# ------------------------------------------------------------------------------------------------------------------ rows


def test_a_run_says_what_it_holds(at: Served, run: Folder) -> None:
    found = at.json("/api/runs/0")
    assert (found["rows"], found["uri"], found["pictures"]) == (24, run.uri, ["input"])
    assert found["columns"]["fingerprint_brightness"] == "number"
    assert found["reasons"] == [{"stage": "decode", "error_type": "Corrupt", "count": 3}]
    assert found["search"]["column"] == "embedding"
    assert "stages: [embed]" in found["settings"]
    (listed,) = at.json("/api/runs")["runs"]
    assert (listed["run"], listed["kind"], listed["state"]) == (0, "job", "interrupted")


def test_rows_are_filtered_sorted_and_paged(at: Served) -> None:
    assert rows(at, limit=3) == names(0, 1, 2)
    assert rows(at, limit=3, offset=22) == names(22, 23)
    assert rows(at, ["uri", "contains", "B/0009"]) == names(9)
    assert rows(at, ["uri", "contains", "b/"], sort="uri", falling=1, limit=2) == names(15, 14)
    page = at.json("/api/runs/0/rows?sort=fingerprint_brightness")
    values = [row["fingerprint_brightness"] for row in page["rows"]]
    assert values == sorted(values)
    assert page["total"] == 24
    middle = values[12]
    assert len(rows(at, ["fingerprint_brightness", "at least", middle])) == 12
    assert len(rows(at, ["fingerprint_brightness", "at least", middle], ["uri", "contains", "a/"])) <= 8
    assert rows(at, ["member", "is not empty"]) == []


def test_a_column_of_any_name_is_only_a_name(tmp_path: Path) -> None:
    name = 'x"; drop table rows; --{0}'
    out = open_out(tmp_path / "run")
    table = pa.Table.from_pylist(
        [{"id": str(n), "uri": f"/{n}", name: float(n)} for n in range(5)],
        pa.schema([*INPUT_FIELDS, pa.field(name, pa.float64()), *TEXTS]),
    )
    publish(out, "part-000000", table, {}, Compression())
    with served(tmp_path / "t", out.uri) as at:
        assert rows(at, [name, "at least", 3], sort=name, falling=1) == ["4", "3"]
        assert rows(at, ["uri", "is", "' or 1=1 --"]) == []
        assert len(rows(at)) == 5
        assert at.json(f"/api/runs/0/column?name={quote(name)}")["high"] == 4


BAD_ROWS = [
    ("filters=5", "is no list"),
    ("filters=[[%22nope%22,%22is%22,1]]", "there is no column"),
    ("filters=[[%22uri%22,%22like%22,1]]", "there are the operators"),
    ("filters=[[%22uri%22,%22at least%22,1]]".replace(" ", "%20"), "does not suit a column of texts"),
    ("filters=[[%22width%22,%22is%22,%22x%22]]", "give a number"),
    ("filters=[[%22width%22,%22is%22,NaN]]", "give a number"),
    ("filters={", "is no JSON"),
    ("sort=1;drop", "there is no column"),
    ("limit=100000", "ask for 1 to 500 rows"),
    ("offset=-1", "give a whole number"),
]


@pytest.mark.parametrize(("asked", "said"), BAD_ROWS)
def test_a_question_that_is_none_is_a_plain_word(at: Served, asked: str, said: str) -> None:
    status, text = error(at, f"/api/runs/0/rows?{asked}")
    assert status == 404
    assert said in text


def test_an_id_that_is_not_there_is_a_plain_word(at: Served) -> None:
    assert at.json("/api/runs/0/find?id=id-a%2F0003") == {"row": 3}
    assert "holds no finished row of 'gone'" in error(at, "/api/runs/0/find?id=gone")[1]
    assert error(at, "/api/runs/0/rows/99") == (404, "there is no row 99; this run has 24")
    assert "there is no run 7; 1 are served" in error(at, "/api/runs/7")[1]


def test_one_row_has_every_column_and_long_ones_are_short(at: Served) -> None:
    values = at.json("/api/runs/0/rows/3")["values"]
    assert values["id"] == names(3)[0]
    assert len(values["embedding"]) == 3
    assert "fingerprint_thumbnail" not in values


def test_what_a_run_adds_appears_and_keeps_the_numbers_of_its_rows(
    run: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelmill.jobs.serving.served_run.FRESH_S", 0.0)
    with served(tmp_path / "t", run.uri) as at:
        assert at.json("/api/runs/0")["rows"] == 24
        add_part(run, ["new"], directions(3, 1)[:1], [noise(99)], failed=["bad/new"])
        assert at.json("/api/runs/0")["rows"] == 25
        assert at.json("/api/runs/0/rows/24")["values"]["id"] == "id-new"
        assert at.json("/api/runs/0/rows/3")["values"]["id"] == names(3)[0]
        assert at.json("/api/runs/0/failures")["total"] == 4
        version = at.json("/api/runs/0")["version"]
        (Path(run.uri) / "data/part-000000.parquet").unlink()
        assert at.json("/api/runs/0")["rows"] == 9
        assert at.json("/api/runs/0")["version"] != version


def test_results_are_columns_until_they_are_stale(run: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelmill.jobs.serving.served_run.FRESH_S", 0.0)
    typed("cluster", run.uri, "--k", "3")
    typed("outliers", run.uri)
    with served(tmp_path / "t", run.uri) as at:
        found = at.json("/api/runs/0")
        assert found["columns"]["clusters.cluster"] == found["columns"]["outliers.outlier_score"] == "number"
        (cluster,) = {row["clusters.cluster"] for row in at.json("/api/runs/0/rows?limit=8")["rows"]}
        assert sorted(rows(at, ["clusters.cluster", "is", cluster])) == names(*range(8))
        add_part(run, ["new"], directions(3, 1)[:1], [noise(99)])
        found = at.json("/api/runs/0")
        assert "clusters.cluster" not in found["columns"]
        assert sum("is older than the newest rows" in note for note in found["notes"]) == 2


# -------------------------------------------------------------------------------------------------------------- pictures


@pytest.fixture
def drawn(tmp_path: Path) -> Folder:
    """Pictures with masks and depth beside their inputs; one input failed."""
    out = make_run(tmp_path, {"a.png": (9, 9, 9), "b.png": (200, 90, 90), "c/blue.png": BLUE})
    spec = json.dumps({"version": 1, "source": str(tmp_path / "in"), "out": out.uri, "stages": ["embed"]})
    out.publish("_run/spec.yaml", spec.encode())
    return out


def colour(at: Served, row: int, which: str) -> tuple[int, ...]:
    reply = at.get(f"/api/runs/0/rows/{row}/pictures/{which}")
    assert (reply.status, reply.headers["content-type"]) == (200, "image/jpeg"), reply.body
    with Image.open(io.BytesIO(reply.body)) as picture:
        return picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2))  # type: ignore[return-value]


def test_the_input_stands_beside_what_was_made_of_it(drawn: Folder, tmp_path: Path) -> None:
    with served(tmp_path / "t", drawn.uri) as at:
        assert at.json("/api/runs/0")["pictures"] == ["input", "shown", "mask", "depth_m"]
        found = {Path(row["uri"]).name: row["_row"] for row in at.json("/api/runs/0/rows")["rows"]}
        assert colour(at, found["b.png"], "input") == pytest.approx((200, 90, 90), abs=6)
        assert colour(at, found["a.png"], "input") == pytest.approx((9, 9, 9), abs=6)
        assert colour(at, found["b.png"], "shown") == pytest.approx((200, 90, 90), abs=6)
        assert colour(at, found["a.png"], "mask") == pytest.approx((0, 0, 0), abs=6)
        assert at.get(f"/api/runs/0/rows/{found['a.png']}/pictures/depth_m?size=large").status == 200


def test_a_picture_that_is_gone_or_is_none_says_so(drawn: Folder, tmp_path: Path) -> None:
    (tmp_path / "in/a.png").unlink()
    with served(tmp_path / "t", drawn.uri) as at:
        found = {Path(row["uri"]).name: row["_row"] for row in at.json("/api/runs/0/rows")["rows"]}
        status, said = error(at, f"/api/runs/0/rows/{found['a.png']}/pictures/input")
        assert (status, "gone since it was listed" in said) == (422, True)
        assert colour(at, found["a.png"], "shown") == pytest.approx((9, 9, 9), abs=6)
        assert "no column of pictures; there are shown" in error(at, "/api/runs/0/rows/0/pictures/uri")[1]
        assert "there are small, large" in error(at, "/api/runs/0/rows/0/pictures/input?size=9999")[1]


@pytest.mark.parametrize("path", ["../../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/etc/passwd", "shown%00"])
def test_no_address_leads_to_a_file(drawn: Folder, tmp_path: Path, path: str) -> None:
    with served(tmp_path / "t", drawn.uri) as at:
        for address in (f"/api/runs/0/rows/0/pictures/{path}", f"/assets/{path}", f"/{path}", f"/api/runs/{path}"):
            reply = at.get(address)
            assert reply.status == 404, address
            assert b"root:" not in reply.body


def test_a_picture_of_100_megapixels_is_shrunk_or_named_and_never_held(tmp_path: Path) -> None:
    out = embedded(tmp_path, ["embed"])
    Image.new("L", (12_500, 8_000), 90).save(tmp_path / "in/cat.png")
    with served(tmp_path / "t", out.uri) as at:
        found = {Path(row["uri"]).name: row["_row"] for row in at.json("/api/runs/0/rows")["rows"]}
        status, said = error(at, f"/api/runs/0/rows/{found['cat.png']}/pictures/input")
        assert status == 422
        assert said
        assert at.get(f"/api/runs/0/rows/{found['coffee.png']}/pictures/input").status == 200


def test_an_input_that_can_not_be_read_any_more_is_shown_by_its_stored_thumbnail(at: Served) -> None:
    reply = at.get("/api/runs/0/rows/5/pictures/input")
    expected = noise(5).mean((0, 1))
    with Image.open(io.BytesIO(reply.body)) as picture:
        assert np.asarray(picture).mean((0, 1)) == pytest.approx(expected, abs=12)


# ------------------------------------------------------------------------------------------------------------------- map


def test_the_map_has_a_place_for_every_row_and_leads_to_it(at: Served) -> None:
    head, data = numbers_in(at.get("/api/runs/0/map"))
    assert (head["count"], head["steps"]) == (24, 65_535)
    assert "computed now" in head["made_by"]
    x_N, y_N = uint16(data, 24), uint16(data, 24, 1)
    places = np.stack([x_N, y_N], 1).astype(float)
    centres = places.reshape(3, 8, 2).mean(1)
    spread = np.abs(places.reshape(3, 8, 2) - centres[:, None]).mean()
    assert min(np.abs(centres[a] - centres[b]).sum() for a, b in ((0, 1), (0, 2), (1, 2))) > 4 * spread
    assert at.json("/api/runs/0/map/points/17")["id"] == names(17)[0]
    assert "there is no point 24; the map has 24" in error(at, "/api/runs/0/map/points/24")[1]


def test_points_are_coloured_by_any_column(at: Served, run: Folder) -> None:
    head, data = numbers_in(at.get("/api/runs/0/map/colours?by=fingerprint_brightness"))
    values = np.array([row["fingerprint_brightness"] for row in at.json("/api/runs/0/rows")["rows"]])
    levels = np.frombuffer(data, np.uint8, 24)
    assert head["kind"] == "scale"
    assert np.all(np.diff(levels[np.argsort(values)].astype(int)) >= 0)
    assert (levels.min(), levels.max()) == (0, 39)
    head, data = numbers_in(at.get("/api/runs/0/map/colours?by=member"))
    assert set(data[:24]) == {255}
    assert "there is no column" in error(at, "/api/runs/0/map/colours?by=x")[1]


def test_filters_choose_points(at: Served) -> None:
    filters = quote(json.dumps([["uri", "contains", "/b/"]]))
    head, data = numbers_in(at.get(f"/api/runs/0/map/shown?filters={filters}"))
    assert head["count"] == 8
    assert list(data[:24]) == [0] * 8 + [1] * 8 + [0] * 8


def test_fifty_thousand_classes_get_as_many_colours_as_there_are_and_one_for_all_others(tmp_path: Path) -> None:
    out = open_out(tmp_path)
    fields = [pa.field("class_name", pa.list_(pa.string())), pa.field("embedding", pa.list_(pa.float32(), 2))]
    listed = [
        {"id": str(n), "uri": f"/{n}", "class_name": [f"c{n}" if n % 2 else "most"], "embedding": [n % 7, 1.0]}
        for n in range(100_000)
    ]
    publish(
        out, "part-000000", pa.Table.from_pylist(listed, pa.schema([*INPUT_FIELDS, *fields, *TEXTS])), {}, Compression()
    )
    with served(tmp_path / "t", out.uri) as at:
        head, data = numbers_in(at.get("/api/runs/0/map/colours?by=class_name"))
        assert (len(head["groups"]), head["groups"][0], head["other_values"]) == (39, ["most", 50_000], 49_962)
        assert data[0] == 0
        assert max(data[:100_000]) == 39
        found = at.json("/api/runs/0/column?name=class_name")
        assert (found["distinct"], len(found["top"])) == (50_001, 40)


def test_the_stored_map_is_used_while_it_is_fresh(run: Folder, tmp_path: Path) -> None:
    typed("project", run.uri)
    with served(tmp_path / "t", run.uri) as at:
        head, _ = numbers_in(at.get("/api/runs/0/map"))
        assert head["made_by"] == "explore/map, pca"


# -------------------------------------------------------------------------------------------------------------- nearness


def test_neighbours_of_a_row_are_those_of_its_direction(at: Served) -> None:
    found = at.json("/api/runs/0/rows/9/near?count=7")["rows"]
    assert sorted(row["_row"] for row in found) == [8, *range(10, 16)]
    cosines = [row["cosine"] for row in found]
    assert cosines == sorted(cosines, reverse=True)
    assert len(at.json("/api/runs/0/rows/9/near?count=99999")["rows"]) == 23


def test_a_dropped_picture_finds_itself_and_what_is_none_is_a_plain_word(tmp_path: Path) -> None:
    out = embedded(tmp_path, [{"embed": {"model": str(model_file(tmp_path / "models"))}}])
    with served(tmp_path / "t", out.uri) as at:
        reply = at.get("/api/runs/0/search?count=2", method="POST", body=(tmp_path / "in/cat.png").read_bytes())
        assert reply.json["rows"][0]["uri"].endswith("/cat.png")
        assert reply.json["rows"][0]["cosine"] == pytest.approx(1, abs=2e-3)
        assert at.get("/api/runs/0/search", method="POST", body=b"no picture").status == 422
        assert "is empty" in at.get("/api/runs/0/search", method="POST", body=b"").json["error"]
        assert "which knows no words" in error(at, "/api/runs/0/search?text=a%20cat")[1]
        can = at.json("/api/runs/0")["search"]
        assert (can["text"], "knows no words" in can["why_no_text"]) == (False, True)


def test_a_body_that_is_too_large_is_not_read_to_its_end(at: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelmill.jobs.serving.app.MOST_BODY_BYTES", 1 << 20)
    assert at.get("/api/runs/0/search", method="POST", body=bytes(3 << 20)).status == 413


def test_a_run_without_vectors_and_one_of_two_models_say_why(tmp_path: Path) -> None:
    plain = open_out(tmp_path / "plain")
    add_part(plain, ["a"], pictures=[noise(0)])
    two = open_out(tmp_path / "two")
    add_part(two, ["a"], directions(1, 1))
    add_part(two, ["b"], directions(1, 1), weights="b" * 64)
    with served(tmp_path / "t", plain.uri, two.uri) as at:
        for number, said in ((0, "holds no vectors"), (1, "vectors of two models")):
            assert said in at.json(f"/api/runs/{number}")["search"]["why_not"]
            assert said in error(at, f"/api/runs/{number}/map")[1]
            assert said in error(at, f"/api/runs/{number}/rows/0/near")[1]
            assert at.json(f"/api/runs/{number}/rows")["total"] == number + 1


def test_a_run_of_zero_rows_has_its_failures_and_a_word_for_all_else(tmp_path: Path) -> None:
    out = open_out(tmp_path / "run")
    with served(tmp_path / "t", out.uri) as at:
        assert at.json("/api/runs/0")["rows"] == 0
        assert at.json("/api/runs/0/rows") == {"total": 0, "offset": 0, "rows": []}
        assert "holds no finished row" in error(at, "/api/runs/0/map")[1]
        assert "there is no row 0; this run has 0" in error(at, "/api/runs/0/rows/0/pictures/input")[1]


# ------------------------------------------------------------------------------------------------- duplicates, failures


def test_duplicates_come_in_groups_and_as_a_list_of_ids(run: Folder, tmp_path: Path) -> None:
    typed("duplicates", run.uri)
    with served(tmp_path / "t", run.uri) as at:
        found = at.json("/api/runs/0/groups")
        assert (found["total"], found["kind"], found["is_stale"]) == (1, "duplicates", False)
        assert [row["id"] for row in found["groups"][0]["rows"]] == names(0, 1)
        assert [row["_row"] for row in found["groups"][0]["rows"]] == [0, 1]
        ids = at.json("/api/runs/0/groups/ids")["ids"]
        assert [(row[0], row[2]) for row in ids] == [(names(0)[0], True), (names(1)[0], False)]
        assert "pixelmill duplicates" in error(at, "/api/runs/0/groups?name=leaks")[1]
        assert "no plain name" in error(at, "/api/runs/0/groups?name=..%2F..%2Fdata")[1]


def test_a_leak_stands_beside_the_row_that_it_repeats(run: Folder, tmp_path: Path) -> None:
    test = open_out(tmp_path / "test")
    add_part(test, ["x", "y"], np.eye(3, dtype=np.float32)[:2] - 2, [noise(3), noise(77)])
    typed("leaks", run.uri, test.uri)
    with served(tmp_path / "t", test.uri, run.uri) as at:
        (group,) = at.json("/api/runs/0/groups?name=leaks")["groups"]
        assert [(row["run"], row["_row"]) for row in group["rows"]] == [(1, 3), (0, 0)]
    with served(tmp_path / "t2", test.uri) as at:
        (group,) = at.json("/api/runs/0/groups?name=leaks")["groups"]
        assert [(row["run"], row["uri"]) for row in group["rows"]] == [(None, "/p/a/0003.jpg"), (0, "/p/x.jpg")]


def test_failures_are_found_by_reason_and_by_text(at: Served) -> None:
    found = at.json("/api/runs/0/failures?stage=decode&error_type=Corrupt")
    assert (found["total"], found["rows"][0]["uri"], found["rows"][0]["error"]) == (3, "/p/bad/0.jpg", "broken")
    assert at.json("/api/runs/0/failures?error_type=Empty")["total"] == 0
    assert [row["id"] for row in at.json("/api/runs/0/failures?text=BAD/2")["rows"]] == ["id-bad/2"]


# --------------------------------------------------------------------------------------------------------- what is served


def test_a_folder_of_runs_is_a_list_and_new_ones_appear(
    run: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelmill.jobs.serving.catalogue.LOOK_AGAIN_S", 0.0)
    with served(tmp_path / "t", str(tmp_path)) as at:
        assert [each["name"] for each in at.json("/api/runs")["runs"]] == ["run"]
        open_out(tmp_path / "another")
        assert [each["name"] for each in at.json("/api/runs")["runs"]] == ["run", "another"]


def test_a_place_without_a_run_is_refused_before_anything_listens(tmp_path: Path) -> None:
    with (
        pytest.raises(JobError, match="there is no run here, and none up to three folders below"),
        served(tmp_path / "t", str(tmp_path)),
    ):
        pass


def test_an_error_of_a_library_stays_on_the_terminal(
    at: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise OSError("https://user:secret@store/private/path failed")

    monkeypatch.setattr("pixelmill.pipelines.browsing.row_table.RowTable.page", broken)
    reply = at.get("/api/runs/0/rows")
    assert (reply.status, b"secret" in reply.body, b"private" in reply.body) == (500, False, False)
    assert "terminal" in reply.json["error"]
    assert "a request failed" in caplog.text


def test_credentials_and_hidden_characters_in_names_are_shown_as_neither(tmp_path: Path) -> None:
    out = open_out(tmp_path / "run")
    uri = "https://user:secret@host/a\u202egpj.exe?X-Amz-Signature=abcdef"
    table = pa.Table.from_pylist([{"id": "1", "uri": uri}], pa.schema([*INPUT_FIELDS, *TEXTS]))
    publish(out, "part-000000", table, {}, Compression())
    with served(tmp_path / "t", out.uri) as at:
        for path in ("/api/runs/0/rows", "/api/runs/0/rows/0"):
            text = at.get(path).body.decode()
            assert "secret" not in text
            assert "abcdef" not in text
            assert "\u202e" not in json.loads(text).__repr__()
