"""Embed an archive with the image example of Ray's documentation.

Source: "Image Classification Batch Inference with PyTorch", docs.ray.io/en/latest/data/examples/
pytorch_resnet_batch_prediction.html. Differences from the example, with reasons:

- ResNet-18 with seeded random weights, and its 512-d penultimate features, whereas the example predicts labels with
  pretrained weights; the preprocessing is still that of the weights (ToTensor, then their transforms).
- No GPU: one actor per core instead of 4 actors on 4 GPUs, and batches of 32 instead of 720.
- Ray is started here, with twice as many logical CPUs as cores: each actor takes one for the whole job, and without others the
  reading tasks would never start.
- The path of each image is read and kept, because an embedding without a name is useless.

    python -m benchmarks.baselines.ray_example --source FOLDER|s3://bucket/prefix --out FOLDER --images N --json FILE
"""

# B batch, C channel, H height, W width, D embedding
from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported

import numpy as np
import ray
import torch
from PIL import Image
from torchvision import transforms
from torchvision.models import ResNet18_Weights

from benchmarks.baselines.measurement import FinishLog, Measurement, Task, task_from_command_line
from benchmarks.baselines.network import seeded_resnet18

CORES = os.cpu_count() or 1

transform = transforms.Compose([transforms.ToTensor(), ResNet18_Weights.DEFAULT.transforms()])


def preprocess_image(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": row["path"],
        "original_image": row["image"],
        "transformed_image": np.asarray(transform(Image.fromarray(row["image"]))),
    }


class ResnetModel:
    def __init__(self, finish_log: FinishLog) -> None:
        self.model = seeded_resnet18()
        self.finish_log = finish_log

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        images_BCHW = torch.from_numpy(batch["transformed_image"])
        with torch.inference_mode():
            embeddings_BD = self.model(images_BCHW).numpy()
        self.finish_log.add(len(embeddings_BD))
        return {"path": batch["path"], "original_image": batch["original_image"], "embedding": embeddings_BD}


def embed(task: Task, finish_log: FinishLog) -> None:
    images = ray.data.read_images(task.source, mode="RGB", include_paths=True)
    embeddings = images.map(preprocess_image).map_batches(
        ResnetModel,
        fn_constructor_args=(finish_log,),
        compute=ray.data.ActorPoolStrategy(size=CORES),
        batch_size=32,
    )
    embeddings.drop_columns(["original_image"]).write_parquet(f"local://{task.out.absolute()}")


def main() -> None:
    task = task_from_command_line(__doc__)
    session_folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # short, because Ray creates its sockets below it
    try:
        with Measurement(task) as measurement:
            ray.init("local", num_cpus=2 * CORES, include_dashboard=False, _temp_dir=session_folder)
            embed(task, measurement.finish_log)
            ray.shutdown()
    finally:
        ray.shutdown()
        shutil.rmtree(session_folder, ignore_errors=True)


if __name__ == "__main__":
    main()
