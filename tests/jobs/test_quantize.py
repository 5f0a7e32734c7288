"""`pixelmill quantize`: an int8 file that stages run, with its agreement on pictures that it was not calibrated on."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pixelmill.jobs import cli, extras
from pixelmill.jobs.quantize import Asked, quantize
from pixelmill.workers.errors import JobError, ModelError, PixelmillError
from pixelmill.workers.models.onnx_card import OnnxCard, read_onnx_card
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.models.zoo import ZOO
from tests.saved_networks import saved
from tests.support import Home, Output, assert_every_input_in_one_row, pictures, pixelmill

MODEL = "autoencoder-photos"
COUNT = 20


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    pictures(folder, COUNT)
    (folder / "00000.jpg").write_bytes(b"<html>gone</html>")
    return folder


def made(photos: Path, place: Path, **changes: Any) -> tuple[OnnxCard, list[str]]:
    said: list[str] = []
    quantize(Asked(**{"model": MODEL, "pictures": str(photos), "out": str(place), "count": 8} | changes), said.append)
    return read_onnx_card("m", place.with_suffix(".json")), said


def test_it_writes_a_file_with_its_card_and_says_how_it_agrees(photos: Path, tmp_path: Path) -> None:
    card, said = made(photos, tmp_path / "new" / "a8.onnx")
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["a8.json", "a8.onnx"]
    facts = card.quantized
    assert facts is not None
    assert (facts.source, facts.calibration_pictures) == (MODEL, 8)
    assert facts.source_sha256 == hashlib.sha256((ZOO / f"{MODEL}.safetensors").read_bytes()).hexdigest()
    (agreement,) = facts.agreement
    assert (agreement.measure, agreement.pictures) == ("cosine", 8)
    assert 0.98 < agreement.worst <= agreement.median < 1
    assert facts.described() in said
    assert "calibrating on 8 pictures" in said[0]
    assert "1 can't be decoded and are left out" in said[0]
    assert (card.task, card.input.size_px, card.output.meaning) == ("embed", 128, "vectors")
    assert card.licence
    assert (tmp_path / "new" / "a8.onnx").stat().st_size < (ZOO / f"{MODEL}.safetensors").stat().st_size / 2


def test_the_same_pictures_give_the_same_bytes_and_others_do_not(photos: Path, tmp_path: Path) -> None:
    first, second = (made(photos, tmp_path / name)[0] for name in ("a.onnx", "b.onnx"))
    assert first == second
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    pictures(tmp_path / "others", COUNT, first=100)
    third, _ = made(tmp_path / "others", tmp_path / "c.onnx")
    assert first.quantized is not None
    assert third.quantized is not None
    assert third.quantized.calibration_sha256 != first.quantized.calibration_sha256
    assert (tmp_path / "c.onnx").read_bytes() != (tmp_path / "a.onnx").read_bytes()


def test_of_too_few_for_both_halves_each_gets_one(photos: Path, tmp_path: Path) -> None:
    card, _ = made(photos, tmp_path / "a.onnx", count=256)
    assert card.quantized is not None
    assert (card.quantized.calibration_pictures, card.quantized.agreement[0].pictures) == (9, 10)


def test_a_network_whose_layers_follow_from_the_size_of_a_picture_is_refused(photos: Path, tmp_path: Path) -> None:
    classes = Classes(("road", "sky"), None)
    network = saved("unet", "unet-int8", classes, base=4, levels=2, padding="same", skips=(1, 2))
    with pytest.raises(
        ModelError, match="can't be exported to ONNX, since what it does depends on the size of a batch"
    ):
        made(photos, tmp_path / "u.onnx", model=str(network), task="segment")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"out": "a.bin"}, "a.bin: does not end with .onnx"),
        ({"task": "dream"}, "task dream: there are embed, "),
        ({"task": "synthesize"}, "task synthesize: there are embed, "),
        ({"model": "no-such-model"}, "model no-such-model: unknown"),
        ({"model": "vae-mnist", "task": "segment"}, "can't segment; it can"),
        ({"task": "reconstruct"}, "can't be exported to ONNX, since what it does depends on the size of a batch"),
        ({"model": "autoencoder-mnist"}, "fits pictures by pad, which the card of a network in ONNX can't say"),
        ({"model": "ct-autoencoder-slices64"}, "takes Hounsfield units"),
        ({"pictures": "{empty}"}, "no input was found"),
        ({"pictures": "{few}"}, "has 5 pictures that can be decoded, and 16 are needed"),
        ({"pictures": "s3://me:secret@b/x"}, "carries"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_written(
    photos: Path, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    pictures(tmp_path / "few", 5)
    places = {name: value.format(empty=tmp_path / "empty", few=tmp_path / "few") for name, value in changes.items()}
    out = tmp_path / "out" / places.pop("out", "a.onnx")
    with pytest.raises(PixelmillError, match=words):
        made(photos, out, **places)
    assert not out.parent.exists()


@pytest.mark.parametrize("name", ["a.onnx", "a.json"])
def test_nothing_is_overwritten(photos: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(JobError, match=f"{name}: exists, and nothing is overwritten; remove it"):
        made(photos, tmp_path / "a.onnx")
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["a.onnx", "a.json"])
def test_what_another_writes_meanwhile_is_kept(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def meanwhile(*_: object) -> list[str]:
        (tmp_path / name).write_text("theirs")
        return []

    monkeypatch.setattr("pixelmill.jobs.quantize.agreements_by_openvino", meanwhile)
    with pytest.raises(JobError, match=f"{name}: exists, and nothing is overwritten"):
        made(photos, tmp_path / "a.onnx")
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "theirs"


def test_without_hard_links_both_files_come_all_the_same(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "not permitted")

    monkeypatch.setattr("pixelmill.jobs.quantize.os.link", refused)
    made(photos, tmp_path / "a.onnx")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "a.onnx"]


def test_what_ends_in_between_leaves_nothing(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise ModelError("no")

    monkeypatch.setattr("pixelmill.jobs.quantize.agreement_of", failing)
    with pytest.raises(ModelError):
        made(photos, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.PACKAGES, "quantize", ("no_such_package",))
    with pytest.raises(JobError, match=r"quantize: needs packages .* pip install 'pixelmill\[quantize\]'"):
        made(photos, tmp_path / "a.onnx")


def test_the_command_takes_the_model_the_pictures_and_the_file(photos: Path, tmp_path: Path) -> None:
    words = ["quantize", MODEL, str(photos), str(tmp_path / "a.onnx"), "--pictures", "8", "--task", "embed"]
    ended = CliRunner().invoke(cli.app, words, catch_exceptions=False)
    assert ended.exit_code == 0
    assert "int8, cosine to float32" in ended.stdout
    assert json.loads((tmp_path / "a.json").read_text())["task"] == "embed"


@pytest.mark.timeout(600)
def test_a_run_with_it_says_that_it_is_int8_and_how_it_agrees(user: Home, photos: Path, tmp_path: Path) -> None:
    card, _ = made(photos, tmp_path / "a8.onnx")
    assert card.quantized is not None
    out = tmp_path / "out"
    words = [
        "embed",
        str(photos),
        str(out),
        "--model",
        f"onnx:{tmp_path / 'a8.onnx'}",
        "--set",
        "run.max_failed_fraction=1",
    ]
    ended = pixelmill(user, *words)
    assert ended.code == 3, ended.stderr
    assert_every_input_in_one_row(Output(str(out)), inputs=COUNT)
    success = json.loads((out / "_SUCCESS").read_text())
    assert success["quantized"] == {"embed": card.quantized.described()}
    assert f"- network of embed: {card.quantized.described()}" in (out / "README.md").read_text()
