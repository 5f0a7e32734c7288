"""The network that every baseline runs: ResNet-18 without its last layer, its weights random but the same."""

from __future__ import annotations

import threading

import torch
from torchvision.models import resnet18

_SEEDED = threading.Lock()  # the threads of a process share one generator


def seeded_resnet18() -> torch.nn.Module:
    """(B, 3, H, W) normalized with ImageNet's mean and deviation -> (B, 512); weights of `torch.manual_seed(0)`."""
    with _SEEDED:
        torch.manual_seed(0)
        model = resnet18()
    model.register_module("fc", torch.nn.Identity())
    return model.eval()
