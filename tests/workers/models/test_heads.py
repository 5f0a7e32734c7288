"""The laws of heads: logits of masks are shares of classes, maps are as large as the picture, a crop is the middle.

Legend: B batch, C channels, H height, W width, K classes, Q queries.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.models.heads import Cropped, DepthMap, Embedding, Flipped, LogitMap, Logits, QueryMap


class Gives(nn.Module):
    """A network that gives the same for every picture."""

    def __init__(self, **outputs: Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, pixel_values: Tensor) -> Any:
        return SimpleNamespace(**{"image_embeds": None, "pooler_output": None} | self.outputs)


IMAGES = torch.zeros(1, 3, 4, 8)


def test_the_softmax_of_masks_is_the_share_of_each_class() -> None:
    """Two queries: one of class 0 on the left half, one of class 1 or nothing on the right."""
    classes_BQK = torch.tensor([[[9.0, -9, -9], [-9, 1, 1]]])  # class 0, class 1, nothing
    left_HW = torch.tensor([9.0, 9, 9, 9, -9, -9, -9, -9]).expand(4, 8)
    masks_BQHW = torch.stack([left_HW, -left_HW])[None]
    head = QueryMap(Gives(class_queries_logits=classes_BQK, masks_queries_logits=masks_BQHW))
    shares_BKHW = head(IMAGES).softmax(1)
    assert shares_BKHW.shape == (1, 2, 4, 8)
    assert (shares_BKHW[0, 0, :, :4] > 0.99).all()
    assert (shares_BKHW[0, 1, :, 4:] > 0.99).all()
    scores_BKHW = torch.einsum("bqk,bqhw->bkhw", classes_BQK.softmax(-1)[..., :2], masks_BQHW.sigmoid())
    assert torch.allclose(shares_BKHW, scores_BKHW / scores_BKHW.sum(1, keepdim=True), atol=1e-5)


def test_where_no_query_sees_anything_the_logits_are_numbers() -> None:
    head = QueryMap(
        Gives(class_queries_logits=torch.full((1, 1, 3), -99.0), masks_queries_logits=torch.full((1, 1, 1, 2), -99.0))
    )
    logits_BKHW = head(IMAGES.half())
    assert logits_BKHW.dtype == torch.float16
    assert logits_BKHW.isfinite().all()


@pytest.mark.parametrize(("kind", "name"), [(LogitMap, "logits"), (DepthMap, "predicted_depth")])
def test_a_coarse_map_is_enlarged_and_one_of_the_right_size_is_kept(kind: type[nn.Module], name: str) -> None:
    ramp_HW = torch.arange(4.0).expand(2, 4)
    coarse = ramp_HW[None] if kind is DepthMap else ramp_HW[None, None]
    made_BCHW = kind(Gives(**{name: coarse}))(IMAGES)
    assert made_BCHW.shape == (1, 1, 4, 8)
    assert torch.allclose(made_BCHW[0, 0, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))
    fine = torch.rand(1, 4, 8) if kind is DepthMap else torch.rand(1, 5, 4, 8)
    assert torch.equal(
        kind(Gives(**{name: fine}))(IMAGES).squeeze(0), fine.squeeze(0) if kind is not DepthMap else fine
    )


def test_an_embedding_is_the_projection_else_the_pooled_output_else_the_first_token() -> None:
    tokens, pooled, projected = torch.rand(1, 5, 6), torch.rand(1, 6, 1, 1), torch.rand(1, 4)
    whole = {"image_embeds": projected, "pooler_output": pooled, "last_hidden_state": tokens}
    assert torch.equal(Embedding(Gives(**whole), whole=True)(IMAGES), projected)
    del whole["image_embeds"]
    assert torch.equal(Embedding(Gives(**whole), whole=True)(IMAGES), pooled.flatten(1))
    del whole["pooler_output"]
    assert torch.equal(Embedding(Gives(**whole), whole=True)(IMAGES), tokens[:, 0])
    assert torch.equal(Embedding(Gives(**whole), whole=False)(IMAGES), tokens)


def test_a_crop_is_the_middle_of_the_picture() -> None:
    images_BCHW = torch.arange(32.0).view(1, 1, 4, 8)
    assert torch.equal(Cropped(nn.Identity(), (2, 4))(images_BCHW), images_BCHW[..., 1:3, 2:6])


def test_logits_are_kept_as_they_are() -> None:
    logits_BK = torch.rand(1, 7)
    assert torch.equal(Logits(Gives(logits=logits_BK))(IMAGES), logits_BK)


def test_flipped_channels_are_blue_green_and_red() -> None:
    images_BCHW = torch.arange(3.0).view(1, 3, 1, 1)
    assert Flipped(nn.Identity())(images_BCHW).flatten().tolist() == [2, 1, 0]
