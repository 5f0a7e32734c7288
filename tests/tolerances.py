"""How far two results of the same arithmetic may lie apart, from the arithmetic and not from the machine at hand.

Which kernel makes a sum, in what order, in how many threads and with or without fused multiplication is chosen by the
processor, the batch and the thread count. Each choice rounds differently. So a test may ask for equality to the bit only

- where the same kernels run over the same shapes in the same memory format with the same number of threads: a training that was
  resumed, a network that was saved and loaded, the same seed twice, one part of a network called twice;
- where nothing is rounded: integers, copies, crops, maxima, ReLU, numbers that are multiples of a power of 2.

A picture alone and in a batch, a window and the whole, folded and unfolded weights are none of these.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def sum_tolerance(terms: int, dtype: torch.dtype = torch.float32, condition: float = 1.0) -> float:
    """The largest relative difference of two sums of the same `terms` numbers, or of their products.

    Each of n additions, in any order, is rounded by at most u = eps / 2, and so is each product; so a computed sum
    differs from the exact one by at most n u / (1 - n u) times the sum of absolute values (Higham, Accuracy and Stability
    of Numerical Algorithms, 2002, equations 3.5 and 4.4), and two computed ones from each other by twice that.
    `condition` is the sum of absolute values over the absolute sum: 1 where all terms have one sign.

    A chain of sums, as a network is one, has the terms of all of its links. The bound is far above what is seen and far below
    what a wrong formula makes: 1e-4 for a thousand terms in float32.
    """
    rounding = terms * torch.finfo(dtype).eps / 2
    if rounding >= 0.5:
        raise ValueError(f"{terms} terms in {dtype} leave no digit")
    return 2 * condition * rounding / (1 - rounding)


def network_tolerance(network: nn.Module, outputs: Tensor) -> float:
    """The largest absolute difference of two computations of `outputs`, given a size by its largest value.

    Every number in a feature map is a sum of as many products as the layer's weights have per output; layers follow each
    other. Signs are mixed, but what cancels in one place of a map does not in another, so the scale is the map's largest value.
    """
    layers = [module for module in network.modules() if isinstance(getattr(module, "weight", None), Tensor)]
    terms = sum(layer.weight[0].numel() + 1 for layer in layers)  # pyright: ignore[reportIndexIssue, reportCallIssue]
    return sum_tolerance(terms, outputs.dtype) * outputs.detach().abs().max().item()
