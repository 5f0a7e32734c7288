"""What every command makes and prints of an ingested archive, from codes to pages, holds no text that identifies a patient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pixelmill.jobs.id_keys import VARIABLE
from pixelmill.workers.ct.phantom_archive import CANARY
from tests.canaries import kept, leaks
from tests.ct_networks import save_autoencoder, save_finetuned
from tests.ct_tables import write_lungs
from tests.jobs.serving.served import Served, served
from tests.phantoms import write_archive
from tests.support import Home, pixelmill

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

KEY = "a key for tests only"
SECRETS = (CANARY, "1.2.826.0.1.3680043.10.999", KEY, "19330303", "20240229")
PATHS = ("", "/state", "/log", "/rows", "/rows/0", "/failures", "/series", "/series/0/slices/0", "/map", "/curve")


class _User:
    """Runs commands, and keeps all that they print."""

    def __init__(self, home: Home) -> None:
        self._home = Home(home.folder, home.environment | {VARIABLE: KEY})
        self.printed: dict[str, str] = {}

    def run(self, *command: str, codes: Sequence[int] = (0,)) -> str:
        ended = pixelmill(self._home, *command)
        assert ended.code in codes, f"{command}: {ended.stdout}{ended.stderr}"
        self.printed[f"{len(self.printed):02d} {command[0]}"] = ended.stdout + ended.stderr
        return ended.stdout


def _explored(user: _User, made: Path) -> None:
    """All that looks into slices, codes and pictures of a run."""
    codes, again = str(made / "codes"), str(made / "codes-2")
    user.run("sample", codes, "--k-center", "5")
    for command in ("cluster", "project", "duplicates", "outliers"):
        user.run(command, codes)
    row: dict[str, Any] = pq.read_table(made / "codes/data").slice(0, 1).to_pylist()[0]
    user.run("neighbors", codes, "--id", row["id"])
    user.run("leaks", codes, again, codes=(0, 1, 3))
    for name in ("slices", "codes", "masks"):
        user.run("inspect", str(made / name))
        user.run("status", str(made / name))
        user.run("logs", str(made / name))
        user.run("report", str(made / name), "--out", str(made / f"{name}.html"))
    user.run("jobs", str(made))
    for name in ("masks", "pictures"):
        user.run("export", str(made / name), str(made / f"{name}-files"))
        user.run("export", str(made / name), str(made / f"{name}-tar"), "--shards", "webdataset")
    user.run("export", codes, str(made / "codes-rows"), "--shards", "parquet")


def _asked(site: Served) -> dict[str, bytes]:
    """Every answer of the server that needs no words, and the rows of each run."""
    runs = [int(run["run"]) for run in site.json("/api/runs")["runs"]]
    answers = {"runs": site.get("/api/runs").body}
    for run in runs:
        for path in PATHS:
            answers[f"{run} {path}"] = site.get(f"/api/runs/{run}{path}").body
    return answers


def test_nothing_that_is_made_of_slices_names_a_patient(user: Home, tmp_path: Path) -> None:
    archive, index, made, mine = tmp_path / "archive", tmp_path / "index", tmp_path / "made", _User(user)
    write_archive(archive, 3, slices=12, side_px=24)
    save_autoencoder(tmp_path / "models/encoder")
    save_finetuned(tmp_path / "models/lungs")
    labelled = write_lungs(tmp_path / "labelled", patients=12, slices=1)
    for path in sorted(labelled.rglob("ID_*")):
        path.rename(path.with_name(path.name.replace("ID_", f"ID_{CANARY}")))
    slices, encoder, lungs = str(made / "slices"), str(tmp_path / "models/encoder"), str(tmp_path / "models/lungs")
    with kept(user.temporary, tmp_path / "ray"):
        mine.run("ct", "ingest", str(archive), slices, "--index", str(index))
        for name in ("codes", "codes-2"):
            mine.run("embed", slices, str(made / name), "--model", encoder)
        mine.run("segment", slices, str(made / "masks"), "--model", lungs)
        mine.run("reconstruct", slices, str(made / "pictures"), "--model", encoder)
        settings = ("widths=[4,8]", "size_px=16", "crop_px=16", "patch_px=8", "steps=2", "batch=2", "hold_out=0")
        options = [part for setting in settings for part in ("--set", setting)]
        mine.run("train", "ct-autoencoder", "--data", slices, "--out", str(made / "trained"), *options)
    mine.run("ct", "pool", str(made / "codes"))
    mine.run("ct", "show", slices)
    mine.run("ct", "show", slices, "--codes", str(made / "codes"), "--model", encoder, "--to", str(made / "near.png"))
    few = ("--n", "1", "--primary", "1:dice", "--seeds", "1", "--few-seeds", "1", "--search-seeds", "1")
    quick = ("--set", "steps=1", "--set", "batch=2")
    mine.run(
        "ct", "curve", "--data", str(labelled), "--out", str(made / "curve"), "--encoder", f"e={encoder}", *few, *quick
    )
    _explored(mine, made)
    with served(tmp_path / "tables", str(made)) as site:
        answers = _asked(site)
    assert sum(b"series_id" in body for body in answers.values()) > 3
    (tmp_path / "printed").mkdir()
    for name, text in mine.printed.items():
        (tmp_path / "printed" / name).write_text(text)
    for number, body in enumerate(answers.values()):
        (tmp_path / f"printed/answer-{number:03d}").write_bytes(body)
    for folder in (made, tmp_path / "printed", tmp_path / "ray"):
        assert leaks(folder, *SECRETS, f"{archive}/") == [], folder
