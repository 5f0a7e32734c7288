"""Fine-tuning on a few labelled patients."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pixelmill.workers.ct.hu_cells import packed
from pixelmill.workers.ct.phantom_volume import phantom_volume
from pixelmill.workers.ct.slice_facts import SliceFacts
from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.initial_weights import fill_from, start_of
from pixelmill.workers.networks.ct_unet import CtAutoencoder, CtAutoencoderConfig
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.ct_finetune import CtFinetuneRecipe, CtFinetuneSettings
from pixelmill.workers.recipes.scoring import evaluate
from tests.learning import learn

SMALL: dict[str, Any] = {"widths": (8, 16), "size_px": 32, "batch": 4}


def recipe_of(**settings: Any) -> CtFinetuneRecipe:
    return CtFinetuneRecipe(CtFinetuneSettings(**{**SMALL, **settings}), {})


def png(values: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(written, "PNG")
    return written.getvalue()


def files(seed: int, label: bytes | None = None) -> dict[str, bytes]:
    made = phantom_volume(1, 32, seed)
    image = packed(made.hu_DHW[0].astype("<i2").tobytes(), (1, 32, 32))
    return {"image": image, "label": label or png(made.lungs_DHW[0] * 255)}


def facts(patients: int, slices: int) -> SliceFacts:
    names = tuple(f"p{number}" for number in range(patients) for _ in range(slices))
    return SliceFacts(names, names, np.full(len(names), np.nan))


def test_labels_choose_whole_patients_and_fewer_are_among_more() -> None:
    slices = facts(8, 3)
    chosen = {n: set(recipe_of(labels=n).chosen(slices, None).tolist()) for n in (1, 2, 4, 8)}
    assert [len(chosen[n]) for n in (1, 2, 4, 8)] == [3, 6, 12, 24]
    assert chosen[1] < chosen[2] < chosen[4] < chosen[8]
    assert len({slices.patients[index] for index in chosen[2]}) == 2
    with pytest.raises(DataError, match="only 8 patients"):
        recipe_of(labels=9).chosen(slices, None)


def test_labels_count_patients_of_each_class() -> None:
    labels = np.repeat([0, 1], 12)
    chosen = recipe_of(labels=2, head="classify").chosen(facts(8, 3), labels)
    assert [int((labels[chosen] == label).sum()) for label in (0, 1)] == [6, 6]


def test_a_mask_is_for_segmentation_and_a_class_for_classification() -> None:
    with pytest.raises(DataError, match="its label is a class, and head is segment; set head=classify"):
        recipe_of().decode(files(0, b"1"))
    with pytest.raises(DataError, match="its label is a mask, and head is classify; set head=segment"):
        recipe_of(head="classify").decode(files(0))
    with pytest.raises(DataError, match="body_crop"):
        recipe_of(body_crop=True).decode(files(0))


def test_a_mask_is_cropped_and_mirrored_with_its_slice() -> None:
    recipe = recipe_of(crop_px=16)
    batch = recipe.batch([recipe.decode(files(0))] * 8, np.random.default_rng(0))
    assert batch["images"].shape == (8, 1, 16, 16)
    lungs = batch["labels"] == 1
    images = batch["images"][:, 0]
    assert float(images[lungs].mean()) < 0.35 < float(images[~lungs].max())


def samples_of(recipe: CtFinetuneRecipe, count: int) -> list[Sample]:
    return [recipe.decode(files(seed)) for seed in range(count)]


def test_it_learns_lungs_of_phantoms() -> None:
    recipe = recipe_of(steps=40, learning_rate=3e-3)
    network = learn(recipe, samples_of(recipe, 8))
    with torch.inference_mode():
        found = evaluate(recipe, network, samples_of(recipe, 8))
    assert found["dice"] > 0.8
    assert found["one_minus_dice"] == pytest.approx(1 - found["dice"])
    assert next(iter(recipe.baselines(samples_of(recipe, 4)).values()))["dice"] > 0.7


def test_classes_are_judged_by_the_area_under_the_curve() -> None:
    recipe = recipe_of(head="classify", steps=2)
    samples = [recipe.decode(files(seed, str(seed % 2).encode())) for seed in range(4)]
    recipe.restore(recipe.prepare(samples))
    network = learn(recipe, samples)
    with torch.inference_mode():
        found = evaluate(recipe, network, samples)
        assert {"loss", "accuracy", "auc"} == set(found)
        assert recipe.pictures(network, samples).ndim == 3


def test_a_frozen_encoder_has_no_share_of_the_optimizer_and_another_its_own_rate() -> None:
    frozen, slow = recipe_of(frozen=True), recipe_of(encoder_rate=0.1)
    assert [group["lr"] for group in slow.optimizer(slow.network()).param_groups] == pytest.approx([1e-3, 1e-4])
    assert len(frozen.optimizer(frozen.network()).param_groups) == 1


def pretrained(widths: tuple[int, ...] = (8, 16)) -> tuple[CtAutoencoder, Card]:
    torch.manual_seed(1)
    network = CtAutoencoder(CtAutoencoderConfig(widths=widths, size_px=32, masked=True))
    config = json.loads(json.dumps(asdict(network.config)))
    card = Card(
        network="ct-autoencoder", config=config, recipe="ct-autoencoder", settings={}, data="phantoms",
        data_licence="none", split="none", metrics={}, versions={}, git_revision=None, preprocess=None, trained_on=(),
    )  # fmt: skip
    return network, card


def test_it_begins_with_every_tensor_of_a_pretrained_encoder_and_says_what_is_new() -> None:
    source, card = pretrained()
    network = recipe_of().network()
    start = start_of("ct-finetuned", network, None)
    report = fill_from(network, start, source.state_dict(), card, "pretrained")
    own, theirs = network.state_dict(), source.state_dict()
    encoder = {name for name in own if name.startswith("encoder.")}
    assert set(report.loaded) == encoder
    assert all(torch.equal(own[name], theirs[name]) for name in encoder)
    assert set(report.head) == own.keys() - encoder
    assert "tokens.0" in report.not_used


def test_an_encoder_of_other_widths_is_refused_before_anything_is_loaded() -> None:
    source, card = pretrained((8, 24))
    network = recipe_of().network()
    with pytest.raises(ModelError, match="tensors of this ct-finetuned have no match"):
        fill_from(network, start_of("ct-finetuned", network, None), source.state_dict(), card, "pretrained")
