"""`export --shards parquet`: what `datasets` opens; it names no folder of a machine, and its card is its owner's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from pixelmill.jobs.export import Asked, export
from pixelmill.jobs.export_rows import ExportedRows, export_rows, lines_of_rows
from pixelmill.pipelines.outputs.columns import SUCCESS
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError, RunRefused
from tests.jobs.test_export import GOOD, PHOTOS
from tests.pipelines.export.drawn import make_run
from tests.pipelines.findings.explored import add_part, open_out

LOAD = """
import datasets, json, sys
data = datasets.load_dataset(sys.argv[1])
rows = data["train"]
shown = rows[0]["shown"]
print(json.dumps([list(data), rows["uri"][:], list(rows.column_names), str(rows.features["levels"]), shown.size]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return make_run(tmp_path_factory.mktemp("run"), PHOTOS)


def do(run: Folder, place: Path, *columns: str, **options: object) -> ExportedRows:
    asked = Asked(run.uri, str(place), columns, shards="parquet", **options)  # pyright: ignore[reportArgumentType]
    return export_rows(asked, lambda _: None)


def front(place: Path) -> dict[str, object]:
    return yaml.safe_load((place / "README.md").read_text().split("---\n")[1])


def test_datasets_opens_it_with_pictures_and_the_features_and_counts_that_its_card_states(
    run: Folder, tmp_path: Path
) -> None:
    do(run, tmp_path / "to")
    info = front(tmp_path / "to")["dataset_info"]
    assert isinstance(info, dict)
    assert {"name": "shown", "dtype": "image"} in info["features"]
    assert {"name": "levels", "sequence": "float32", "length": 100} in info["features"]
    assert info["splits"][0]["num_examples"] == len(GOOD)
    caches = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", LOAD, str(tmp_path / "to")]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | caches, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    splits, uris, names, levels, size = json.loads(done.stdout.splitlines()[-1])
    assert (splits, sorted(uris)) == (["train"], [f"{name}.png" for name in GOOD])
    assert names == [feature["name"] for feature in info["features"]]
    assert levels == "List(Value('float32'), length=100)"
    assert size[0] > 0


def test_no_file_names_the_folder_of_the_source_or_of_the_run(run: Folder, tmp_path: Path) -> None:
    do(run, tmp_path / "to")
    whole = b"".join(path.read_bytes() for path in (tmp_path / "to").rglob("*") if path.is_file())
    assert str(Path(run.uri).parent).encode() not in whole


def test_columns_that_were_asked_for_come_with_the_keys_alone(run: Folder, tmp_path: Path) -> None:
    do(run, tmp_path / "to", "mask")
    info = front(tmp_path / "to")["dataset_info"]
    assert isinstance(info, dict)
    assert [each["name"] for each in info["features"]] == ["id", "uri", "member", "mask"]
    with pytest.raises(JobError, match=r"--column depth: is no column of this run; there are id, uri"):
        do(run, tmp_path / "other", "depth")


def test_a_finished_export_is_skipped_and_counts_the_same(run: Folder, tmp_path: Path) -> None:
    first = do(run, tmp_path / "to")
    card = (tmp_path / "to/README.md").read_text()
    again = do(run, tmp_path / "to")
    assert (first.tally.rows, again.tally.rows, again.tally.rows_before) == (4, 0, 4)
    assert again.tally.file_bytes == first.tally.file_bytes > 0
    assert (tmp_path / "to/README.md").read_text() == card


def test_a_card_that_its_owner_completed_stays(run: Folder, tmp_path: Path) -> None:
    do(run, tmp_path / "to")
    card = (tmp_path / "to/README.md").read_text().replace("license: unknown", "license: cc-by-4.0")
    (tmp_path / "to/README.md").write_text(card)
    again = do(run, tmp_path / "to")
    assert (tmp_path / "to/README.md").read_text() == card
    assert "README.md is not the card that pixelmill wrote" in "\n".join(lines_of_rows(again))


def test_a_run_that_is_not_complete_is_exported_as_far_as_it_is_done(tmp_path: Path) -> None:
    run = make_run(tmp_path, PHOTOS)
    made = do(run, tmp_path / "to")
    assert "5, of which 4 are done and 1 failed" in (tmp_path / "to/README.md").read_text()
    assert "the run is not complete" in "\n".join(lines_of_rows(made))
    run.publish(SUCCESS, json.dumps({"inputs": 5, "done": 4, "failed": 1, "weights": {"0.drawn": "ab" * 32}}).encode())
    assert "the run is not complete" not in "\n".join(lines_of_rows(do(run, tmp_path / "to")))
    assert f"weights of 0.drawn: sha256 `{'ab' * 32}`" in (tmp_path / "to/README.md").read_text()


@pytest.mark.parametrize(
    ("options", "words"), [({"format": "png"}, "--format png"), ({"portable": True}, "--portable")]
)
def test_options_of_files_are_refused(run: Folder, tmp_path: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(JobError, match=words):
        do(run, tmp_path / "to", **options)
    assert not (tmp_path / "to").exists()


def test_a_run_whose_inputs_all_failed_is_a_plain_word_and_makes_no_folder(tmp_path: Path) -> None:
    run = open_out(tmp_path / "out")
    add_part(run, [], np.zeros((0, 3)), failed=["a", "b"])
    with pytest.raises(JobError, match="holds no finished row yet"):
        do(run, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_an_export_of_files_and_a_data_set_never_share_a_folder(run: Folder, tmp_path: Path) -> None:
    do(run, tmp_path / "to")
    with pytest.raises(RunRefused, match="holds another export"):
        export(Asked(run.uri, str(tmp_path / "to")), lambda _: None)
