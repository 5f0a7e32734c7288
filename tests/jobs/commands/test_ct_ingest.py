"""`pixelmill ct ingest`: every usable series whole or filed, and nothing that identifies a patient in anything that is written,
printed or logged."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import SimpleITK
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelmill.jobs.id_keys import VARIABLE
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.ct.phantom_archive import CANARY
from tests.canaries import kept, leaks
from tests.ct_series import series_of
from tests.phantoms import EVERY_DEFECT, write_archive
from tests.support import Ended, Home, Output, pixelmill
from tests.workers.ct.niftis import a_body, a_volume, compressed

pytestmark = pytest.mark.timeout(1200)

ROOT_UID = "1.2.826.0.1.3680043.10.999"
KEY = "a key for tests only"
SECRETS = (CANARY, ROOT_UID, KEY, "19330303", "20240229")


def _run(user: Home, *arguments: str) -> Ended:
    return pixelmill(Home(user.folder, user.environment | {VARIABLE: KEY}), "ct", *arguments, "--log-level", "debug")


def _packed(archive: Path) -> None:
    """Pack one study into a tar, whose name and members hold the canary too."""
    study = next(path for path in sorted(archive.glob("*/study 15")))
    with tarfile.open(archive / f"{CANARY}.tar", "w") as tar:
        for path in sorted(study.iterdir()):
            tar.add(path, f"{CANARY}/{path.name}")
            path.unlink()


def _with_other_files(archive: Path) -> None:
    """A NIfTI volume and pictures of slices whose texts and names identify too."""
    folder = archive / f"{CANARY} study"
    folder.mkdir()
    (folder / f"{CANARY} 19330303.nii.gz").write_bytes(compressed(a_volume(a_body(), np.diag([-1.5, -1.5, 2, 1]))))
    for number in range(5):
        tifffile.imwrite(
            folder / f"{CANARY}_{number}.tif",
            a_body()[:, :, number],
            description=f"{CANARY}^ANNA",
            software=f"{CANARY} MED",
        )
    text = PngInfo()
    text.add_text("Comment", f"{CANARY}^ANNA")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / f"{CANARY}.png", pnginfo=text)


def _damaged(index: Folder) -> list[str]:
    """Series of which an object is damaged after it was indexed: gone, forbidden, cut; their ids."""
    usable = [row for row in series_of(index) if row["usable_3d"] and len(row["members"]) > 2]
    usable = [row for row in usable if not row["members"][0]["offset"]][:3]
    gone, forbidden, cut = (Path(row["members"][2]["uri"]) for row in usable)
    gone.unlink()
    forbidden.unlink()
    forbidden.mkdir()
    cut.write_bytes(cut.read_bytes()[:-300])
    return [row["series_id"] for row in usable]


def test_slices_are_those_of_an_independent_reader_and_nothing_names_a_patient(user: Home, tmp_path: Path) -> None:
    archive, index, out = tmp_path / "archive", tmp_path / "index", tmp_path / "out"
    write_archive(archive, EVERY_DEFECT, slices=12, side_px=24)
    _packed(archive)
    _with_other_files(archive)
    with kept(user.temporary, tmp_path / "ray"):
        indexed = _run(user, "index", str(archive), str(index))
        assert indexed.code == 0, indexed.stderr
        damaged = _damaged(Folder(str(index), Access()))
        ended = _run(user, "ingest", str(index), str(out))
    assert ended.code == 3, ended.stderr
    rows = {row["series_id"]: row for row in series_of(Folder(str(index), Access())) if row["usable_2d"]}
    others = {series for series, row in rows.items() if f"{CANARY} study" in row["members"][0]["uri"]}
    assert len(others) == 2
    failed = Output(str(out)).table("failed").to_pylist()
    assert sorted(Output(str(out)).listed_ids()) == sorted(_ids(out, "data") + _ids(out, "failed"))
    assert {row["uri"] for row in failed} == {f"ct:{series}" for series in damaged}
    _assert_slices_equal(
        out, {series: row for series, row in rows.items() if series not in {*damaged, *others}}, others
    )

    for name, ended_as in (("index", indexed), ("ingest", ended)):
        (tmp_path / "printed").mkdir(exist_ok=True)
        (tmp_path / f"printed/{name}").write_text(ended_as.stdout + ended_as.stderr)
    names = {str(archive) + "/"}
    assert leaks(tmp_path / "printed", *SECRETS, *names) == []
    assert leaks(out, *SECRETS, str(archive)) == []
    assert any((tmp_path / "ray").rglob("*.out"))
    assert leaks(tmp_path / "ray", *SECRETS, str(archive) + "/") == []
    _assert_index_holds_names_alone(index)


@pytest.mark.slow
def test_blocks_of_volumes_train_a_network_in_3d_and_nothing_names_a_patient(user: Home, tmp_path: Path) -> None:
    archive, index, out, run = (tmp_path / name for name in ("archive", "index", "out", "run"))
    write_archive(archive, 5, slices=16, side_px=24)
    _with_other_files(archive)
    assert _run(user, "index", str(archive), str(index)).code == 0
    options = ("--volumes", "--spacing", "2.5,1.5,1.5", "--block", "16x16x16", "--overlap", "4", "--shear-tilt")
    ended = _run(user, "ingest", str(index), str(out), *options)
    assert ended.code == 0, ended.stderr
    usable = {
        row["series_id"]
        for row in series_of(Folder(str(index), Access()))
        if row["usable_3d"] or (row["usable_2d"] and [reason[:5] for reason in row["reasons_3d"]] == ["tilt:"])
    }
    assert len(usable) == 3  # a good one, a tilted one, and a NIfTI volume
    rows = Output(str(out)).table("data").to_pylist()
    assert {row["series_id"] for row in rows} == usable
    assert {len(row["hu"]) for row in rows} == {16**3}
    settings = ("dims=3", "widths=[4,8]", "size_px=16", "crop_px=16", "patch_px=8", "steps=2", "batch=2", "hold_out=0")
    arguments = [part for setting in (*settings, "drop_air=false") for part in ("--set", setting)]
    trained = pixelmill(user, "train", "ct-autoencoder", "--data", str(out), "--out", str(run), *arguments)
    assert trained.code == 0, trained.stderr
    codes = tmp_path / "codes"
    embedded = pixelmill(user, "embed", str(out), str(codes), "--model", str(run))
    assert embedded.code == 0, embedded.stderr
    pooled = pq.read_table(codes / "explore/series/series.parquet").to_pylist()
    assert {row["series_id"]: row["blocks"] for row in pooled} == Counter(row["series_id"] for row in rows)
    refused = _run(user, "ingest", str(index), str(tmp_path / "other"), "--block", "8x8x8")
    assert (refused.code, "add --volumes" in refused.stderr) == (2, True)
    (tmp_path / "printed").mkdir()
    printed = "".join(part for each in (ended, trained, embedded) for part in (each.stdout, each.stderr))
    (tmp_path / "printed/all").write_text(printed)
    for folder in (out, run, codes, tmp_path / "printed"):
        assert leaks(folder, *SECRETS, str(archive)) == []


def _ids(out: Path, folder: str) -> list[str]:
    """Of the inputs with rows in a folder."""
    return sorted(set(map(str, Output(str(out)).table(folder)["id"].to_pylist())))


def _assert_slices_equal(out: Path, rows: dict[str, dict[str, object]], others: set[str]) -> None:
    """Of DICOM series object by object; of `others` how many slices there are."""
    table = Output(str(out)).table("data")
    found = {(row["series_id"], row["place"]): row for row in table.to_pylist()}
    assert sorted(sum(series == other for series, _ in found) for other in others) == [5, 12]
    found = {key: row for key, row in found.items() if key[0] not in others}
    assert len(found) == sum(len(row["members"]) for row in rows.values())  # pyright: ignore
    for (series, place), row in found.items():
        member = rows[str(series)]["members"][place]  # pyright: ignore
        if member["offset"] is not None or not Path(member["uri"]).is_file():
            continue
        reference = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(member["uri"]))[0]
        assert np.abs(np.array(row["hu"]).reshape(row["height"], row["width"]) - reference).max() <= 0.5
        assert row["slice_id"] == member["object_id"]


def _assert_index_holds_names_alone(index: Path) -> None:
    """The index may hold names of objects, in the columns and files that locate them, and no text of a tag."""
    texts = (
        f"{CANARY}^ANNA",
        f"{CANARY} MED",
        f"{CANARY} hospital",
        f"{CANARY} nested",
        f"{CANARY} PRIVATE",
        ROOT_UID,
        KEY,
    )
    assert leaks(index, *texts) == []
    located = ("data/", "failed/", "series/", "_run/manifest/")
    assert [leak for leak in leaks(index, CANARY) if not leak.startswith(located)] == []
    for path in (index / "data").glob("*.parquet"):
        table = pq.read_table(path)
        assert CANARY not in repr(table.drop_columns(["uri", "member"]).to_pylist())
