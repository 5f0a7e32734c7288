"""Embed an archive with a PyTorch DataLoader: PIL in one worker process per core, fp32 forward in batches of 32.

A script without an engine: no resume, no record of failures, one file. Torch keeps its default number of threads.

    python -m benchmarks.baselines.dataloader --source FOLDER|s3://bucket/prefix --out FOLDER --images N --json FILE
"""

# B batch, C channel, H height, W width, D embedding
from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.models import ResNet18_Weights

from benchmarks.baselines.measurement import FinishLog, Measurement, list_images, task_from_command_line
from benchmarks.baselines.network import seeded_resnet18

SCHEMA = pa.schema({"uri": pa.string(), "embedding": pa.list_(pa.float32(), 512)})


class Images(Dataset[tuple[str, torch.Tensor]]):
    """The URI, and the picture as ResNet-18's weights expect it: 256 px on the short side, 224 px from the centre."""

    def __init__(self, uris: Sequence[str]) -> None:
        self.uris = uris
        self.transform = ResNet18_Weights.DEFAULT.transforms()

    def __len__(self) -> int:
        return len(self.uris)

    def __getitem__(self, index: int) -> tuple[str, torch.Tensor]:
        uri = self.uris[index]
        filesystem, path = fsspec.core.url_to_fs(uri)  # cached for each process: a client does not survive a fork
        image = Image.open(io.BytesIO(filesystem.cat_file(path))).convert("RGB")
        return uri, self.transform(image)


def embed(uris: Sequence[str], out: Path, finish_log: FinishLog) -> None:
    model = seeded_resnet18()
    loader = DataLoader(Images(uris), batch_size=32, num_workers=os.cpu_count() or 1)
    with pq.ParquetWriter(out / "embeddings.parquet", SCHEMA) as writer, torch.inference_mode():
        for batch_uris, images_BCHW in loader:
            embeddings_BD = model(images_BCHW).numpy()
            finish_log.add(len(batch_uris))
            column = pa.FixedSizeListArray.from_arrays(embeddings_BD.ravel(), 512)
            writer.write_batch(pa.record_batch([pa.array(batch_uris), column], schema=SCHEMA))


def main() -> None:
    task = task_from_command_line(__doc__)
    with Measurement(task) as measurement:
        embed(list_images(task), task.out, measurement.finish_log)


if __name__ == "__main__":
    main()
