"""One network for one picture: what it gives is what a job would write, however the picture is given."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pixelmill.jobs import loaded
from pixelmill.jobs.loaded import PREFERRED, RESULTS, Class, Mask, Reconstruction, as_picture, load
from pixelmill.workers.codecs.encode import encode_png16, encode_png_palette
from pixelmill.workers.errors import JobError, ModelError, RowError
from pixelmill.workers.models.tasks import TASKS
from pixelmill.workers.models.zoo import zoo_names, zoo_path
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Deferred, Milled, StageContext, config_class
from pixelmill.workers.stages.picture_column import picture_field, picture_value
from tests.conftest import Reach
from tests.corpus import encode, photo
from tests.servers.gateway import Gateway

STYLE = "faststyle-starry-night"


@pytest.fixture(scope="module")
def stylist() -> loaded.LoadedModel:
    return load(STYLE)


def test_a_loaded_model_gives_the_values_of_a_job(stylist: loaded.LoadedModel) -> None:
    config = config_class("stylize").model_validate(
        {"style": STYLE, "precision": "float32", "batch": 1, "compile": False, "channels_last": False}
    )
    stage = config.build(StageContext("cpu", 1, 1, None))
    milled = stage.run([stage.prepare(as_picture(photo()))])
    column = milled.columns["stylized"]
    assert isinstance(column, Deferred)
    value: Any = column.jobs[0]()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(value["bytes"]))), np.asarray(stylist(photo())))


def test_a_picture_may_be_an_image_an_array_a_path_or_a_uri(stylist: loaded.LoadedModel, tmp_path: Path) -> None:
    file = tmp_path / "a b.png"
    file.write_bytes(encode(photo(), "PNG"))
    expected = np.asarray(stylist(photo()))
    for given in (np.asarray(photo()), file, str(file), f"file://{file}"):
        assert np.array_equal(np.asarray(stylist(given)), expected)


def test_alpha_grey_and_turned_pictures_are_seen_as_a_job_sees_them() -> None:
    turned = photo()
    exif = Image.Exif()
    exif[274] = 6
    file = io.BytesIO()
    turned.save(file, "PNG", exif=exif)
    seen = as_picture(Image.open(io.BytesIO(file.getvalue())))
    assert (seen.width, seen.height) == (turned.height, turned.width)
    clear = np.zeros((4, 5, 4), np.uint8)
    assert as_picture(clear).pixels.min() == 255  # alpha is laid on white
    assert as_picture(np.full((4, 5), 7, np.uint8)).pixels.shape == (3, 4, 5)


def test_ids_stay_ids_for_a_stage_that_reads_them(tmp_path: Path) -> None:
    ids_HW = np.array([[0, 1, 2]], np.uint8)
    data = encode_png_palette(ids_HW, [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    (tmp_path / "ids.png").write_bytes(data)
    for given in (tmp_path / "ids.png", Image.open(io.BytesIO(data)), ids_HW):
        seen = as_picture(given, ids=True)
        assert (seen.kind, seen.pixels.tolist()) == ("ids8", [[[0, 1, 2]]])
    assert as_picture(tmp_path / "ids.png").kind == "rgb8"


@pytest.mark.parametrize("given", [np.zeros((4, 5), np.float32), np.zeros((3, 4, 5), np.uint8), np.zeros(4, np.uint8)])
def test_an_array_that_is_no_picture_is_refused(given: np.ndarray) -> None:
    with pytest.raises(JobError, match="give uint8 HW, HW3 or HW4"):
        as_picture(given)


@pytest.mark.parametrize("given", [None, 3, [photo()], b"bytes"])
def test_a_value_that_is_no_picture_is_refused_by_its_type(given: Any) -> None:
    with pytest.raises(JobError, match=f"a {type(given).__name__} is no picture; give a PIL image, an array, a path"):
        as_picture(given)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0), (0, 0, 4)])
def test_an_array_without_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(JobError, match="has no pixels"):
        as_picture(np.zeros(shape, np.uint8))


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(JobError, match="device cuda:1: torch finds no GPU here; leave device out"):
        load(STYLE, device="cuda:1")


# Which task


@pytest.mark.parametrize(
    ("model", "task"), [(STYLE, "stylize"), ("crn-facades", "synthesize"), ("torchvision:resnet18/random", None)]
)
def test_the_task_is_the_one_that_the_network_was_trained_for(model: str, task: str | None) -> None:
    assert load(model).task == task or (task is None and load(model).task in ("classify", "embed"))


TASKS_OF_THE_ZOO = {
    "autoencoder": "encode",
    "crn": "synthesize",
    "ct": "reconstruct",
    "faststyle": "stylize",
    "fcn8s": "segment",
    "monodepth": "depth",
    "segnet": "segment",
    "unet": "segment",
    "vae": "encode",
    "vdsr": "upscale",
}


@pytest.mark.parametrize("name", zoo_names())
def test_every_network_that_ships_has_the_task_that_it_is_for(name: str) -> None:
    assert load(name).task == TASKS_OF_THE_ZOO[name.partition("-")[0]]


def test_another_task_and_keys_of_its_stage_can_be_asked_for() -> None:
    vector = load("autoencoder-photos", task="embed", keys={"output": "float16"})(photo())
    assert (vector.dtype, vector.ndim) == (np.float32, 1)
    assert np.array_equal(vector, vector.astype(np.float16))


def test_network_and_card_are_there_for_those_who_want_them(stylist: loaded.LoadedModel) -> None:
    assert stylist.card is not None
    assert (stylist.card.network, stylist.network.training) == ("faststyle", False)
    other = load("torchvision:resnet18/random", task="embed")
    assert (other.card, other.network.training) == (None, False)


def test_a_checkpoint_on_a_store_is_fetched_and_does_the_same(
    moto: Gateway, reach: Reach, stylist: loaded.LoadedModel
) -> None:
    reach(moto.env)
    moto.make_bucket("models")
    weights = zoo_path(STYLE)
    assert weights is not None
    moto.put("models", "painter/model.safetensors", weights.read_bytes())
    moto.put("models", "painter/card.json", weights.with_suffix(".json").read_bytes())
    moto.put("models", "painter/model.marks", weights.with_suffix(".marks").read_bytes())
    remote = load("s3://models/painter")
    assert (remote.task, remote.card) == ("stylize", stylist.card)
    assert np.array_equal(np.asarray(remote(photo())), np.asarray(stylist(photo())))


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: load("no-such"), ModelError, "no such checkpoint"),
        (lambda: load("torchvision:resnet19"), ModelError, "did you mean resnet18"),
        (lambda: load("s3://me:ab5c0ffee@bucket/x"), JobError, "carries credentials"),
        (lambda: load(STYLE, task="dream"), JobError, "task dream: there are embed"),
        (lambda: load(STYLE)("no-such.jpg"), ModelError, "no such file"),
        (lambda: load(STYLE)(__file__), RowError, r"test_loaded\.py: looks like .* text"),
        (lambda: load("starry-night"), ModelError, f"no such checkpoint .did you mean {STYLE}"),
        (lambda: load(STYLE, device="tpu"), JobError, "device tpu: there are cpu and cuda"),
    ],
)
def test_what_can_not_be_done_is_reported(call: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()


# Results


class Shown:
    """A stage whose columns are given."""

    def __init__(self, *fields: Any) -> None:
        self.fields = fields
        self.weights_sha256, self.batch, self.batch_pixels, self.settings = None, 1, None, {}

    def prepare(self, picture: Picture) -> Picture:
        return picture

    def run(self, samples: Any) -> Milled:
        raise NotImplementedError


PNG = picture_value(encode(photo(), "PNG"))
IDS_HW = np.array([[0, 1], [2, 0]], np.uint8)


def test_every_task_has_a_result_and_a_place_in_the_order() -> None:
    assert set(RESULTS) == set(PREFERRED) == set(TASKS)


def test_a_mask_has_ids_and_the_names_of_its_classes() -> None:
    mask = picture_value(encode_png_palette(IDS_HW, [(0, 0, 0)] * 3))
    stage = Shown(
        picture_field("mask", metadata={"classes": '["sky", "road", "car"]'}),
        pa.field("class_fraction", pa.list_(pa.float32())),
    )
    made = RESULTS["segment"]({"mask": mask, "class_fraction": [0.5, 0.25, 0.25]}, stage)
    assert isinstance(made, Mask)
    assert (made.ids.tolist(), made.names) == (IDS_HW.tolist(), ("sky", "road", "car"))
    assert made.columns == {"class_fraction": [0.5, 0.25, 0.25]}


def test_depth_is_in_the_unit_of_its_column() -> None:
    row = {
        "depth_m": picture_value(encode_png16(IDS_HW.astype(np.uint16) * 1000)),
        "depth_m_scale": 0.5,
        "depth_m_near": 0.0,
    }
    made = RESULTS["depth"](row, Shown(picture_field("depth_m")))
    assert (made.dtype, made.tolist()) == (np.float32, [[0.0, 500.0], [1000.0, 0.0]])


def test_a_reconstruction_has_its_error_and_classes_have_names() -> None:
    made = RESULTS["reconstruct"](
        {"reconstruction": PNG, "reconstruction_error": 0.25}, Shown(picture_field("reconstruction"))
    )
    assert isinstance(made, Reconstruction)
    assert (made.picture.size, made.error) == (photo().size, 0.25)
    row = {"class_id": [4, 2], "class_name": ["cat", "dog"], "class_score": [0.75, 0.25]}
    assert RESULTS["classify"](row, Shown()) == [Class(4, "cat", 0.75), Class(2, "dog", 0.25)]
