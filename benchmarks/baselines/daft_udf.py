"""Embed an archive with Daft: its own download, decode and resize expressions, and the network in a pool of actors.

One actor per core, one torch thread each, fp32, batches of 32. Daft 0.7 runs actors that take images or return embeddings in
threads of its own process, even if processes are requested. Its resize ignores the aspect ratio, so pictures are stretched to
224x224, whereas the other baselines crop 224x224 from the centre of 256 px.

    python -m benchmarks.baselines.daft_udf --source FOLDER|s3://bucket/prefix --out FOLDER --images N --json FILE
"""

# B batch, C channel, H height, W width, D embedding
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("DO_NOT_TRACK", "1")  # read by Daft when it is imported

import daft
import numpy as np
import torch
from daft import DataType, Series, col
from daft.functions import decode_image, download, resize
from daft.io import IOConfig, S3Config
from torchvision.transforms.functional import normalize

from benchmarks.baselines.measurement import FinishLog, Measurement, list_images, task_from_command_line
from benchmarks.baselines.network import seeded_resnet18


@daft.cls(max_concurrency=os.cpu_count())
class ResNet18:
    def __init__(self, finish_log: FinishLog) -> None:
        torch.set_num_threads(1)  # the actors fill the cores
        self.model = seeded_resnet18()
        self.finish_log = finish_log

    @daft.method.batch(return_dtype=DataType.embedding(DataType.float32(), 512), batch_size=32)
    def embed(self, images: Series) -> list[np.ndarray]:
        images_BHWC = torch.from_numpy(np.stack(images.to_pylist()))
        images_BCHW = images_BHWC.permute(0, 3, 1, 2).contiguous().float() / 255
        images_BCHW = normalize(images_BCHW, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
        with torch.inference_mode():
            embeddings_BD = self.model(images_BCHW).numpy()
        self.finish_log.add(len(embeddings_BD))
        return list(embeddings_BD)


def io_config() -> IOConfig:
    """Daft finds credentials in AWS_* by itself, but not the endpoint."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    return IOConfig(s3=S3Config(endpoint_url=endpoint, region_name=os.environ.get("AWS_DEFAULT_REGION")))


def embed(uris: Sequence[str], out: Path, finish_log: FinishLog) -> None:
    images = daft.from_pydict({"uri": list(uris)}).with_column(
        "image", resize(decode_image(download(col("uri"), io_config=io_config()), mode="RGB"), 224, 224)
    )
    embeddings = images.select(col("uri"), ResNet18(finish_log).embed(col("image")).alias("embedding"))
    embeddings.write_parquet(str(out))


def main() -> None:
    task = task_from_command_line(__doc__)
    with Measurement(task) as measurement:
        embed(list_images(task), task.out, measurement.finish_log)


if __name__ == "__main__":
    main()
