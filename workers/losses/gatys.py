"""Style transfer by optimising the picture itself, with a photograph's content and a painting's style; no network is trained.

Gatys, Ecker & Bethge 2016: content relu4_2, style relu1_1 ... relu5_1 with equal weights, L-BFGS from noise. Several
photographs are stylised at once; each result is the same as alone.

Differences from the paper: it starts from white noise, here the noise is weak and around grey, from which fewer steps
suffice. It prefers average pooling in the loss network, which `pooling` sets; the default is the maximum, with which the
network was trained. It has no total variation, which `tv_weight` 0 leaves out. Layers are weighted relative to the painting
(`scale`); gatys is the paper's.

Legend: B batch, C channels, H height, W width, N numbers in one picture, M pairs that L-BFGS remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from pixelmill.workers.losses.perceptual import Features, StyleTransferLoss
from pixelmill.workers.losses.style_choice import GatysSettings
from pixelmill.workers.networks.vgg import Vgg
from pixelmill.workers.runtime import stall_watchdog

OnStep = Callable[[int, Mapping[str, Tensor]], None]
"""Called with the number of the step, from 0, and the terms before it, float32 B each: content, style, ..., total."""

HISTORY = 100
"""Pairs of steps and gradients that L-BFGS remembers, as in the authors' and torch's default."""

LONGEST_STEP = 0.1
"""Largest root mean square, over a picture's pixels, of a step of L-BFGS: without line search, one long step can diverge."""

_CURVATURE_FLOOR = 1e-10
_NOISE = 0.02


def stylize(
    content_BCHW: Tensor,
    style_1CHW: Tensor,
    loss_network: Vgg,
    settings: GatysSettings,
    on_step: OnStep | None = None,
) -> Tensor:
    """Photographs in the style of a painting: images in [0, 1], with the size and device of `content_BCHW`.

    The painting may have any size, which determines the size of brush strokes in the result. The same settings, pictures and
    machine give the same result. `loss_network` is frozen and moved to the device of the photographs.
    """
    with torch.inference_mode(False), torch.enable_grad():
        photos_BCHW = content_BCHW.detach().clone()
        network = loss_network.to(photos_BCHW.device)
        loss = StyleTransferLoss(network, style_1CHW.detach().to(photos_BCHW.device), settings.weights)
        targets = loss.content_targets(photos_BCHW)
        images_BCHW = first_images(photos_BCHW, settings)
        descent = _DESCENTS[settings.optimizer](settings.learning_rate)
        for step in range(settings.steps):
            terms, gradients_BCHW = _terms_and_gradients(loss, images_BCHW, targets)
            if on_step is not None:
                on_step(step, terms)
            images_BCHW = images_BCHW + descent.step(gradients_BCHW.flatten(1)).view_as(images_BCHW)
            stall_watchdog.progress()
    return images_BCHW.clamp(0, 1)


def first_images(photos_BCHW: Tensor, settings: GatysSettings) -> Tensor:
    """The photographs, or for each the same noise around grey, drawn on the CPU so that every device starts alike."""
    if settings.start == "content":
        return photos_BCHW.clone()
    generator = torch.Generator().manual_seed(settings.seed)
    noise_CHW = torch.randn(photos_BCHW.shape[1:], generator=generator)
    return (0.5 + _NOISE * noise_CHW).to(photos_BCHW).expand_as(photos_BCHW)


def _terms_and_gradients(
    loss: StyleTransferLoss, images_BCHW: Tensor, targets: Features
) -> tuple[dict[str, Tensor], Tensor]:
    """Every picture's terms and the gradient of its own total; pictures are independent of each other."""
    images_BCHW = images_BCHW.detach().requires_grad_()
    terms = loss(images_BCHW, targets)
    (gradients_BCHW,) = torch.autograd.grad(terms["total"].sum(), images_BCHW)
    return {name: term_B.detach() for name, term_B in terms.items()}, gradients_BCHW


class Descent(Protocol):
    """Computes the change BN of the pictures from gradients BN."""

    def step(self, gradients_BN: Tensor) -> Tensor: ...


class Lbfgs:
    """L-BFGS (Nocedal 1980) for each row separately, with full steps and no line search.

    For one row the steps equal those of torch.optim.LBFGS. torch's optimiser treats all rows as a single point, so that the
    result of a picture would depend on the other pictures in the batch.
    """

    def __init__(self, learning_rate: float | None, longest_step: float = LONGEST_STEP) -> None:
        self.learning_rate = 1.0 if learning_rate is None else learning_rate
        self.longest_step = longest_step
        self.steps_BN: list[Tensor] = []
        self.changes_BN: list[Tensor] = []  # of the gradient over each step
        self.inverse_curvatures_B1: list[Tensor] = []
        self.scale_B1: Tensor | float = 1.0  # the length of the curve where nothing more is known of it
        self.gradients_BN: Tensor | None = None

    def step(self, gradients_BN: Tensor) -> Tensor:
        if self.gradients_BN is None:
            length_B1 = (1 / gradients_BN.abs().sum(1, keepdim=True)).nan_to_num(posinf=0).clamp(max=1)
            step_BN = -gradients_BN * length_B1 * self.learning_rate
        else:
            self._remember(gradients_BN - self.gradients_BN)
            step_BN = self._direction(gradients_BN) * self.learning_rate
        step_BN = step_BN * (self.longest_step / _dot(step_BN, step_BN).div(step_BN.shape[1]).sqrt()).clamp(max=1)
        self.gradients_BN = gradients_BN
        self.steps_BN.append(step_BN)
        return step_BN

    def _remember(self, change_BN: Tensor) -> None:
        """A pair without curvature information is kept with weight 0, because other rows may need theirs."""
        curvature_B1 = _dot(change_BN, self.steps_BN[-1])
        is_convex_B1 = curvature_B1 > _CURVATURE_FLOOR
        scale_B1 = curvature_B1 / _dot(change_BN, change_BN)
        self.scale_B1 = torch.where(is_convex_B1, scale_B1, self.scale_B1)
        self.inverse_curvatures_B1.append(torch.where(is_convex_B1, 1 / curvature_B1, 0.0))
        self.changes_BN.append(change_BN)
        for memory in (self.steps_BN, self.changes_BN, self.inverse_curvatures_B1):
            del memory[:-HISTORY]

    def _direction(self, gradients_BN: Tensor) -> Tensor:
        """Minus the inverse Hessian times the gradient, by the two-loop recursion over the stored pairs."""
        direction_BN, shares_B1 = -gradients_BN, list[Tensor]()
        pairs = list(zip(self.steps_BN, self.changes_BN, self.inverse_curvatures_B1, strict=True))
        for step_BN, change_BN, inverse_B1 in reversed(pairs):
            shares_B1.append(_dot(step_BN, direction_BN) * inverse_B1)
            direction_BN = direction_BN - shares_B1[-1] * change_BN
        direction_BN = direction_BN * self.scale_B1
        for (step_BN, change_BN, inverse_B1), share_B1 in zip(pairs, reversed(shares_B1), strict=True):
            direction_BN = direction_BN + step_BN * (share_B1 - _dot(change_BN, direction_BN) * inverse_B1)
        return direction_BN


class Adam:
    """Adam (Kingma & Ba 2015), which works element by element and therefore for each row separately."""

    def __init__(self, learning_rate: float | None) -> None:
        self.learning_rate = 0.02 if learning_rate is None else learning_rate
        self.optimizer: torch.optim.Adam | None = None
        self.position_BN: Tensor | None = None

    def step(self, gradients_BN: Tensor) -> Tensor:
        if self.optimizer is None or self.position_BN is None:
            self.position_BN = torch.zeros_like(gradients_BN, requires_grad=True)
            self.optimizer = torch.optim.Adam([self.position_BN], self.learning_rate)
        before_BN = self.position_BN.detach().clone()
        self.position_BN.grad = gradients_BN
        self.optimizer.step()  # pyright: ignore[reportUnknownMemberType]
        return self.position_BN.detach() - before_BN


_DESCENTS: dict[str, Callable[[float | None], Descent]] = {"lbfgs": Lbfgs, "adam": Adam}


def _dot(first_BN: Tensor, second_BN: Tensor) -> Tensor:
    return (first_BN * second_BN).sum(1, keepdim=True)
