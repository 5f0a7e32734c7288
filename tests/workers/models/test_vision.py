"""torchvision starts without TorchDynamo, and whoever wants that later has all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIGHTENED = "import sys; from pixelmill.workers.models import vision; vision.lighten(); import torch, torchvision; "


def says(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torchvision_is_imported_without_torchdynamo() -> None:
    made = "torchvision.models.resnet18()(torch.ones(2, 3, 32, 32)); "
    assert says(LIGHTENED + made + "print([n for n in ('torch._dynamo', 'sympy') if n in sys.modules])") == "[]"


@pytest.mark.parametrize(
    "wants",
    [
        "print(torch.compile(torch.nn.Linear(2, 2), backend='eager')(torch.ones(1, 2)).shape == (1, 2))",
        "from torchvision.ops import roi_align; torch.use_deterministic_algorithms(True); "
        "print(roi_align(torch.ones(1, 1, 4, 4), [torch.tensor([[0., 0., 2., 2.]])], 2).shape == (1, 1, 2, 2))",
    ],
)
def test_whoever_wants_torchdynamo_later_has_the_real_one(wants: str) -> None:
    assert says(LIGHTENED + wants) == "True"


def test_what_torchvision_may_ask_for_some_day_is_imported_for_it() -> None:
    code = (
        "import sys, torch; from pixelmill.workers.models import vision; "
        "sys.modules.update({n: vision._Later(n) for n in vision._LATER}); "
        "from torch._dynamo.utils import counters; print(type(counters).__name__, 'sympy' in sys.modules)"
    )
    assert says(code) == "defaultdict True"
