"""Run the mill of a bulk job in the current process: from a folder of pictures to embeddings, without Ray and without a job."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch

from pixelmill.pipelines.bulk.decode_nodes import DecodeNodes
from pixelmill.pipelines.bulk.deferred import COMPRESS
from pixelmill.pipelines.bulk.mill import ORDER_COLUMN, Mill, MillConfig, Tally
from pixelmill.pipelines.bulk.orders import Order
from pixelmill.pipelines.inputs.fetch import FetchLimits
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.listing import Listing, tables_of
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.stages import Stage, StageConfig, StageContext
from pixelmill.workers.stages.embed import EmbedConfig

Backend = Literal["auto", "torch", "openvino"]

WARM_UP_IMAGES = 256
"""The size of the first order, in which settings are probed and kernels are chosen on first use."""


@dataclass(frozen=True)
class Embedded:
    """Embeddings by the name of the picture, and the rate at which they were computed."""

    vectors: dict[str, np.ndarray]
    failed_rows: int
    images_per_s: float
    decode_s: float
    """What fetching aside a picture takes of a thread that decodes: decoding, resizing, cropping."""


@dataclass(frozen=True)
class Turn:
    """One order: its pictures, and the processor time that the stage took for them."""

    pictures: int
    stage_s: float


@dataclass(frozen=True)
class MilledFolder:
    """The tables of both orders, the rate of the second, and what a picture of it takes of a thread beside the network."""

    tables: tuple[pa.Table, pa.Table]
    images_per_s: float
    decode_s: float
    encode_s: float


class FolderMill:
    """A stage over every picture of a folder, as a worker of a job would run it; the first of two orders warms up."""

    def __init__(
        self,
        pictures: Path | str,
        device: str,
        *,
        decode_threads: int,
        out: Path | None = None,
        decode_on: DecodeNodes | None = None,
    ) -> None:
        """`pictures` is a folder, or the URI of one where `out` is given. `decode_on` needs a Ray that this process is
        connected to."""
        self.settings: dict[str, Any] = {}
        """The settings of the stage, after it has run."""
        self._device, self._decode_threads = device, decode_threads
        self._decode_on = decode_on
        self._tallies: list[Tally] = []
        self._out = Folder(str(out or Path(pictures).with_name("out")), Access())
        self._segment = self._listed(str(pictures))

    def _listed(self, pictures: str) -> Segment:
        listing = Listing(self._out, 0)
        listing.write(tables_of(Source((pictures,)), listing, Known(self._out, [])))
        warm_up = min(WARM_UP_IMAGES, listing.rows // 2)
        return listing.segment([warm_up, listing.rows - warm_up], 0)

    def _mill(self, stage: StageConfig, device: str, decode_threads: int, threads: int | None = None) -> Mill:
        context = StageContext(device, threads or os.cpu_count() or 1, self._segment.rows, None)
        config = MillConfig(
            out=self._out.uri, out_access=Access(), source_access=Access(), column=None, segments=(self._segment,),
            stages=(stage,), context=context, fetch=FetchLimits(), max_pixels=100_000_000,
            decode_threads=decode_threads, weights=None, decode_on=self._decode_on,
        )  # fmt: skip
        return Mill(config, self._tallies.append)

    def milled(self, stage: StageConfig) -> MilledFolder:
        """Every picture once; the figures are of the second order alone."""
        mill = self._mill(stage, self._device, self._decode_threads)
        first, second = self._segment.parts()
        warm = _milled(mill, Order(first.name, (first,)))
        before, began_s = Counter(self._tallies[-1].busy_s), time.perf_counter()
        rest = _milled(mill, Order(second.name, (second,)))
        images_per_s = second.rows / (time.perf_counter() - began_s)
        self.settings = _settings_of(rest)
        decode_s, encode_s = (
            (self._tallies[-1].busy_s[name] - before[name]) / second.rows for name in ("decode", COMPRESS)
        )
        return MilledFolder((warm, rest), images_per_s, decode_s, encode_s)

    def on_the_cpu(self, stage: StageConfig, count: int) -> pa.Table:
        """The rows of the first `count` pictures, computed on the CPU."""
        first, _ = self._segment.parts()
        few = type(first)(first.number, first.segment, first.start, min(count, first.rows), first.writer)
        return _milled(self._mill(stage, "cpu", 0), Order(first.name, (few,)))


class InProcessMill(FolderMill):
    """The stage `embed`."""

    def __init__(
        self,
        model: str,
        pictures: Path | str,
        device: str,
        *,
        decode_threads: int,
        backend: Backend = "auto",
        out: Path | None = None,
        decode_on: DecodeNodes | None = None,
    ) -> None:
        super().__init__(pictures, device, decode_threads=decode_threads, out=out, decode_on=decode_on)
        self.stage: Stage
        """The stage of the mill that takes `turns`, once the first was asked for."""
        self._model = model
        self._backend: Backend = backend

    def turns(self) -> Iterator[Turn]:
        """The same order again and again on one thread, one each time that it is asked; the first also chooses settings."""
        stage = EmbedConfig(model=self._model, backend=self._backend)  # pyright: ignore[reportCallIssue]
        mill = self._mill(stage, self._device, self._decode_threads, threads=1)
        _, second = self._segment.parts()
        (stage_of_mill,) = mill.stages
        self.stage = stage_of_mill
        run, spent_s = stage_of_mill.run, [0.0]

        def timed(samples: Sequence[Any]) -> Any:
            start_s = time.process_time()
            made = run(samples)
            spent_s[0] += time.process_time() - start_s
            return made

        vars(stage_of_mill)["run"] = timed
        while True:
            spent_s[0] = 0.0
            _milled(mill, Order(second.name, (second,)))
            yield Turn(second.rows, spent_s[0])

    def embed_all(self) -> Embedded:
        """Embed every picture once; the rate covers all orders but the first, and includes their decoding."""
        milled = self.milled(EmbedConfig(model=self._model))  # pyright: ignore[reportCallIssue]
        warm, rest = milled.tables
        vectors = _vectors_of(warm) | _vectors_of(rest)
        return Embedded(vectors, self._segment.rows - len(vectors), milled.images_per_s, milled.decode_s)

    def least_cosine_to_cpu(self, embedded: Embedded, count: int) -> float:
        """The lowest cosine between these embeddings and those of the CPU in float32, over the first `count` pictures."""
        stage = EmbedConfig(model=self._model, precision="float32", batch=16)  # pyright: ignore[reportCallIssue]
        truth = _vectors_of(self.on_the_cpu(stage, count))
        missing = [name for name in truth if name not in embedded.vectors]
        if missing or not truth:
            return -1.0
        pairs = [(torch.from_numpy(embedded.vectors[name]), torch.from_numpy(vector)) for name, vector in truth.items()]
        return min(float(torch.cosine_similarity(a.float(), b.float(), dim=0)) for a, b in pairs)


def _milled(mill: Mill, order: Order) -> pa.Table:
    return mill(json.loads(order.to_json()))


def _settings_of(milled: pa.Table) -> dict[str, Any]:
    (text,) = set(milled[ORDER_COLUMN].to_pylist())
    (settings,) = json.loads(str(text))["settings"].values()
    return settings


def _vectors_of(milled: pa.Table) -> dict[str, np.ndarray]:
    done = milled.filter(milled["error"].is_null())
    vectors = [np.asarray(vector, np.float32) for vector in done["embedding"].to_pylist()]
    return dict(zip(map(str, done["uri"].to_pylist()), vectors, strict=True))
