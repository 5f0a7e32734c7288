"""`pixelmill ct show`: which series are on which sheet, what is said of them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.jobs.ct import show as sheets
from pixelmill.jobs.ct.show import Asked
from pixelmill.workers.errors import JobError
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.networks.ct_unet import CtAutoencoder, CtAutoencoderConfig
from tests.ct_slices import Series, embedded, ingested, ramp
from tests.workers.saved import make_card

FIVE_MM = [0.0, 2.0, 4.0, 6.0, 8.0]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Twelve series in two files; the third is no volume."""
    several = [Series(letter, ramp(), FIVE_MM, usable_3d=letter != "c") for letter in "abcdef012345"]
    return ingested(tmp_path / "out", {"part-000000.parquet": several[:5], "part-000001.parquet": several[5:]})


def shown(asked: Asked) -> tuple[list[str], list[str]]:
    said: list[str] = []
    return sheets.show(asked, said.append), said


def size(sheet: str) -> tuple[int, int]:
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"
        return picture.size


def test_series_come_in_order_on_as_many_sheets_as_they_need(out: Path, tmp_path: Path) -> None:
    sheets, said = shown(Asked(str(out), str(tmp_path / "s.png"), count=11))
    assert sheets == [str(tmp_path / "s.png"), str(tmp_path / "s-2.png")]
    (width, eight), (same, three) = map(size, sheets)
    assert same == width
    assert eight > 2 * three
    assert [line[0] for line in said] == list("abcdef01234")
    assert "three planes" in said[0]
    assert "no volume: a tilt" in said[2]


def test_only_the_named_series_is_shown_and_each_window_adds_three_tiles(out: Path, tmp_path: Path) -> None:
    (one,), said = shown(Asked(str(out), str(tmp_path / "one.png"), ("bone",), series="EEEE"))
    assert said == ["eeeeeeee: 5 slices of 8 x 6, 1 x 1 x 2 mm; three planes"]
    (two,), _ = shown(Asked(str(out), str(tmp_path / "two.png"), ("bone", "wide"), series="eeee"))
    assert size(two)[0] - 6 == 2 * (size(one)[0] - 6)


def test_codes_and_a_model_add_a_row_each(out: Path, tmp_path: Path) -> None:
    several = {"part-000000.parquet": [Series(letter, ramp(), FIVE_MM) for letter in "abcde"]}
    codes = embedded(tmp_path / "codes", out, several, dict.fromkeys("abcde", range(5)))
    network = CtAutoencoder(CtAutoencoderConfig(widths=(8, 8), size_px=16))
    config = json.loads(json.dumps(asdict(network.config)))
    card = make_card(network="ct-autoencoder", config=config, recipe="ct-autoencoder", preprocess=None)
    save_checkpoint(tmp_path / "model.safetensors", network, card)
    plain, _ = shown(Asked(str(out), str(tmp_path / "plain.png"), count=3))
    asked = Asked(
        str(out), str(tmp_path / "more.png"), count=2, codes=str(codes), model=str(tmp_path / "model.safetensors")
    )
    (more,), said = shown(asked)
    assert size(more)[1] - 6 == (size(plain[0])[1] - 6) * 2
    assert len(said) == 2


def test_sheets_lie_beside_the_data_unless_a_place_is_named(out: Path) -> None:
    ended = CliRunner().invoke(cli.app, ["ct", "show", str(out), "--count", "1", "--window", "lung", "--quiet"])
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == f"{out}/explore/contact-sheets/sheet.png\n"
    assert np.asarray(Image.open(ended.stdout.strip())).any()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"windows": ("lungs",)}, r"--window lungs: .* did you mean lung\?.* there are lung, soft-tissue"),
        ({"series": "9"}, r"holds no series 9; there are aaaaaaaa, bbbbbbbb"),
        ({"to": "sheet.jpg"}, r"--to sheet.jpg: contact sheets are PNG"),
    ],
)
def test_what_can_not_be_shown_is_refused(asked: dict[str, str | Sequence[str]], message: str, out: Path) -> None:
    with pytest.raises(JobError, match=message):
        shown(Asked(str(out), **asked))  # type: ignore[arg-type]
    assert not (out / "explore").exists()


def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="holds no run of pixelmill"):
        shown(Asked(str(tmp_path)))
