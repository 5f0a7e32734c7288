"""Explore a latent space with pictures: samples, a path between two codes, and traversal of one number at a time.

Any network with `decode(codes_BD) -> images_BCHW` works. A variational autoencoder was trained to decode the standard normal
distribution; for an autoencoder without a prior, fit a Gaussian to its training codes.

Legend: N codes, B pictures, D numbers in a code, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import torch
from torch import Tensor

from pixelmill.workers.errors import ModelError

PathKind = Literal["linear", "spherical"]


class CodeDecoder(Protocol):
    """A network that decodes codes to images, with values around [0, 1]."""

    def decode(self, codes_BD: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution over codes; its covariance is factor @ factor.T."""

    mean_D: Tensor
    factor_DD: Tensor

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Codes ND; equal for equal states of the CPU generator on any device of the mean."""
        noise_ND = torch.randn(count, len(self.mean_D), generator=generator).to(self.mean_D)
        return self.mean_D + noise_ND @ self.factor_DD.T


def standard_normal(size: int, device: torch.device | str = "cpu") -> Gaussian:
    """The prior of a variational autoencoder."""
    return Gaussian(torch.zeros(size, device=device), torch.eye(size, device=device))


def fit_gaussian(codes_ND: Tensor) -> Gaussian:
    """Mean and covariance of codes; constant or correlated numbers are allowed."""
    if len(codes_ND) < 2:
        raise ModelError(f"a Gaussian can't be fitted to {len(codes_ND)} codes; give 2 or more")
    size = codes_ND.shape[1]
    covariance_DD = torch.cov(codes_ND.double().T).reshape(size, size)
    variances_D, axes_DD = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(covariance_DD))  # pyright: ignore[reportUnknownMemberType]
    factor_DD = axes_DD * variances_D.clamp(min=0).sqrt()  # unlike Cholesky's, it exists where the rank is not full
    return Gaussian(codes_ND.mean(0), factor_DD.to(codes_ND))


@torch.inference_mode()
def sample(decoder: CodeDecoder, codes: Gaussian, count: int, generator: torch.Generator) -> Tensor:
    """Pictures BCHW in [0, 1] of sampled codes."""
    return decoder.decode(codes.draw(count, generator)).clamp(0, 1)


@torch.inference_mode()
def interpolate(
    decoder: CodeDecoder, start_D: Tensor, end_D: Tensor, count: int, path: PathKind = "spherical"
) -> Tensor:
    """Pictures BCHW in [0, 1] on the way from one code to another, both ends included."""
    return decoder.decode(between(start_D, end_D, count, path)).clamp(0, 1)


def between(start_D: Tensor, end_D: Tensor, count: int, path: PathKind = "spherical") -> Tensor:
    """Codes ND at equal distances along a straight line or a great circle.

    Draws from a normal distribution lie near a sphere, and the middle of a straight line lies inside it, where the decoder saw
    little training data (White 2016, arXiv:1609.04468). Two codes on one line through 0 define no great circle and are joined by
    a straight line.
    """
    steps_N1 = torch.linspace(0, 1, count, device=start_D.device)[:, None]
    straight_ND = torch.lerp(start_D, end_D, steps_N1)
    cosine = torch.nn.functional.cosine_similarity(start_D, end_D, dim=0)
    on_one_line = cosine.abs() > 1 - 1e-6 or not start_D.any() or not end_D.any()
    if path == "linear" or on_one_line:
        return straight_ND
    angle = torch.acos(cosine)
    return (torch.sin((1 - steps_N1) * angle) * start_D + torch.sin(steps_N1 * angle) * end_D) / torch.sin(angle)


@torch.inference_mode()
def traverse(decoder: CodeDecoder, code_D: Tensor, dimension: int, values: Sequence[float]) -> Tensor:
    """Pictures BCHW in [0, 1] of one code in which a single number is replaced by each of `values`."""
    if not 0 <= dimension < len(code_D):
        raise ModelError(f"a code of {len(code_D)} numbers has no dimension {dimension}; take 0 to {len(code_D) - 1}")
    codes_ND = code_D.repeat(len(values), 1)
    codes_ND[:, dimension] = torch.tensor(values).to(codes_ND)
    return decoder.decode(codes_ND).clamp(0, 1)
