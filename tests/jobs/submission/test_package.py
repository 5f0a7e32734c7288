"""The zip that is sent to a cluster."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from pixelmill.jobs.submission.package import code, packed


def test_equal_files_give_equal_bytes_and_a_changed_one_other_bytes() -> None:
    files = {"b.py": b"2", "a.py": b"1"}
    assert packed(files) == packed(dict(reversed(files.items())))
    assert packed(files) != packed({**files, "a.py": b"3"})


def test_the_code_that_is_sent_runs_by_itself_in_place_of_what_is_installed(tmp_path: Path) -> None:
    sent = {**code(), "pixelmill/planted.py": b"print('sent')\n"}
    zipfile.ZipFile(io.BytesIO(packed(sent))).extractall(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    script = "import pixelmill.planted, pixelmill.jobs.spec as spec; print(spec.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["sent", str(tmp_path / "pixelmill/jobs/spec.py")]


def test_checkpoints_that_ship_are_sent_where_they_are_named_and_stay_here_otherwise() -> None:
    assert not any(name.endswith(".safetensors") for name in code("model: torchvision:resnet18"))
    styles = [name for name in code("run: [stylize, in, out, --style, udnie]") if name.endswith(".safetensors")]
    assert "pixelmill/workers/zoo/faststyle-udnie.safetensors" in styles
    assert any(name.endswith("autoencoder-photos.safetensors") for name in code("stages: [embed]"))  # its default
    named = [name for name in code("model: vae-mnist") if name.endswith(".safetensors")]
    assert named == ["pixelmill/workers/zoo/vae-mnist.safetensors"]
