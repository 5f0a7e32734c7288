"""Measure what `pixelmill duplicates`, `cluster` and `report` take and find.

    python -m benchmarks.exploring duplicates --rows 200000
    python -m benchmarks.exploring clusters CHECKPOINT TRAIN.parquet TEST.parquet
    python -m benchmarks.exploring maps CHECKPOINT TEST.parquet --out maps.jpg
    python -m benchmarks.exploring report --points 20000 --out FOLDER

duplicates: vectors of many groups with copies planted among them; time, peak memory, and the share of the exact pairs of
sampled rows that was found. clusters: codes of MNIST beside PCA and raw pixels, as `pixelmill cluster` sees them: vectors of
length 1. maps: codes of MNIST in the plane, how often the nearest points of a map are of one digit, and a picture of it; UMAP
needs pixelmill[explore]. report: a run of so many rows with thumbnails; time to write the page, its size, and the page itself
to look at.

Legend: N rows, M sampled rows, D numbers in a vector.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from matplotlib import pyplot
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import NearestNeighbors

from benchmarks.cluster_codes import Network, encode, read, spaces
from pixelmill.pipelines.findings.projection import Method, projected
from pixelmill.pipelines.findings.row_vectors import RowVectors
from pixelmill.workers.evaluation.clustering import hungarian_accuracy
from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.recipes.registry import recipe_of
from pixelmill.workers.similarity.kmeans import assign, choose_clusters, fit
from pixelmill.workers.similarity.near_pairs import near_pairs
from pixelmill.workers.similarity.units import as_float32, blocks, units_of

SAMPLED = 10_000
THRESHOLD = 0.97


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    duplicates = commands.add_parser("duplicates")
    duplicates.add_argument("--rows", type=int, default=200_000)
    duplicates.add_argument("--dimension", type=int, default=512)
    duplicates.add_argument("--sampled", type=int, default=SAMPLED)
    clusters = commands.add_parser("clusters")
    for name in ("checkpoint", "train", "test"):
        clusters.add_argument(name, type=Path)
    clusters.add_argument("--train-count", type=int, default=20_000)
    maps = commands.add_parser("maps")
    for name in ("checkpoint", "test"):
        maps.add_argument(name, type=Path)
    maps.add_argument("--out", type=Path, required=True)
    report = commands.add_parser("report")
    report.add_argument("--points", type=int, default=20_000)
    report.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "duplicates":
        measure_duplicates(arguments.rows, arguments.dimension, arguments.sampled)
    elif arguments.command == "clusters":
        measure_clusters(arguments.checkpoint, arguments.train, arguments.test, arguments.train_count)
    elif arguments.command == "maps":
        measure_maps(arguments.checkpoint, arguments.test, arguments.out)
    else:
        measure_report(arguments.points, arguments.out)


# ----------------------------------------------------------------------------------------------------------- duplicates


def planted(rows: int, dimension: int, seed: int = 0) -> np.ndarray:
    """Groups of about 500 rows that overlap, and a tenth of all rows near copies: float16, as a large run is held."""
    random = np.random.default_rng(seed)
    centres_KD = random.normal(size=(max(1, rows // 500), dimension)).astype(np.float32)
    units_ND = np.empty((rows, dimension), np.float16)
    originals = rows * 9 // 10
    for block in blocks(originals, 8192):
        near = centres_KD[random.integers(len(centres_KD), size=block.stop - block.start)]
        units_ND[block] = units_of(near + random.normal(size=near.shape).astype(np.float32))
    for block in blocks(rows - originals, 8192):
        chosen = as_float32(units_ND[random.integers(originals, size=block.stop - block.start)])
        strength = random.uniform(0.02, 0.3, size=(len(chosen), 1)) / np.sqrt(dimension)
        copies = chosen + strength * random.normal(size=chosen.shape)
        units_ND[originals + block.start : originals + block.stop] = units_of(copies)
    return units_ND[random.permutation(rows)]


def measure_duplicates(rows: int, dimension: int, sampled: int) -> None:
    units_ND = planted(rows, dimension)
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    pairs = near_pairs(units_ND, THRESHOLD)
    took_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{rows:,} x {dimension}: {len(pairs):,} pairs in {took_s:,.0f} s ({cpu_s:,.0f} s of CPU), {peak_gb:.1f} GB at most",
        flush=True,
    )
    found = set(zip(pairs.left_P.tolist(), pairs.right_P.tolist(), strict=True))
    expected = exact_pairs(units_ND, np.sort(np.random.default_rng(1).permutation(rows)[:sampled]))
    hit = sum(pair in found for pair in expected)
    print(f"of {len(expected):,} exact pairs of {sampled:,} sampled rows {hit:,} were found: {hit / len(expected):.4f}")


def exact_pairs(units_ND: np.ndarray, sample: np.ndarray) -> list[tuple[int, int]]:
    """Every pair of a sampled row with any row."""
    pairs: set[tuple[int, int]] = set()
    sampled_MD = as_float32(units_ND[sample])
    for block in blocks(len(units_ND), 8192):
        rows, others = np.nonzero(sampled_MD @ as_float32(units_ND[block]).T >= THRESHOLD)
        for row, other in zip(sample[rows].tolist(), (others + block.start).tolist(), strict=True):
            if row != other:
                pairs.add((min(row, other), max(row, other)))
    return sorted(pairs)


# ------------------------------------------------------------------------------------------------------------- clusters


def measure_clusters(checkpoint: Path, train_table: Path, test_table: Path, train_count: int) -> None:
    torch.set_num_threads(1)
    network, card = load_checkpoint(checkpoint)
    assert isinstance(network, Network)
    recipe = recipe_of(card)
    train, test = read(train_table, recipe, train_count), read(test_table, recipe, None)
    labels_M = np.array([int(sample["label"]) for sample in test])
    print("| space | numbers | NMI | accuracy | k of the silhouette |\n|---|---|---|---|---|")
    for name, (train_ND, test_MD) in spaces(network, recipe, train, test).items():
        centre_D = train_ND.mean(0)
        for shown, shift in ((name, 0.0), (f"{name}, centred", 1.0)):
            units_ND, units_MD = (units_of(each - shift * centre_D) for each in (train_ND, test_MD))
            clusters_M, _ = assign(units_MD, fit(units_ND, 10))
            nmi = float(normalized_mutual_info_score(labels_M, clusters_M))
            accuracy = hungarian_accuracy(clusters_M, labels_M)
            chosen = choose_clusters(units_ND)
            silhouette = f"{chosen.clusters} ({chosen.silhouette:.3f})"
            print(f"| {shown} | {train_ND.shape[1]} | {nmi:.3f} | {accuracy:.3f} | {silhouette} |", flush=True)


# ----------------------------------------------------------------------------------------------------------------- maps


def measure_maps(checkpoint: Path, test_table: Path, picture: Path) -> None:
    """The maps of the codes of the test set, as `pixelmill project` makes them."""
    network, card = load_checkpoint(checkpoint)
    assert isinstance(network, Network)
    test = read(test_table, recipe_of(card), None)
    labels_M = np.array([int(sample["label"]) for sample in test])
    codes_MD = units_of(encode(network, test, network.config.size_px))
    names = [str(row) for row in range(len(test))]
    vectors = RowVectors(pa.table({"id": names, "uri": names}), codes_MD, "latent", {})
    methods: list[Method] = ["pca", "umap"]
    figure, axes = pyplot.subplots(1, len(methods), figsize=(12, 6), dpi=90)
    for method, axis in zip(methods, axes, strict=True):
        start_s = time.perf_counter()
        rows = projected(vectors, method).rows
        points_M2 = np.stack([rows["x"].to_numpy(), rows["y"].to_numpy()], 1)
        took_s = time.perf_counter() - start_s
        near_MK = NearestNeighbors(n_neighbors=11).fit(points_M2).kneighbors(points_M2, return_distance=False)[:, 1:]
        share = float((labels_M[near_MK] == labels_M[:, None]).mean())
        print(f"{method}: {share:.3f} of the 10 nearest points are of the same digit; {took_s:.0f} s", flush=True)
        axis.scatter(*points_M2.T, c=labels_M, cmap="tab10", s=2, linewidths=0)
        axis.set_title(f"{method}: {share:.2f} of the 10 nearest points are of the same digit")
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(picture)


# --------------------------------------------------------------------------------------------------------------- report


def measure_report(rows: int, folder: Path) -> None:
    """A run of so many rows, published by hand: vectors of 40 groups, and thumbnails of coloured noise, which compress badly."""
    from pixelmill.jobs.reporting.content import Wanted, content_of
    from pixelmill.jobs.reporting.page import page_of
    from pixelmill.pipelines.outputs.columns import ERROR_COLUMNS, INPUT_FIELDS
    from pixelmill.pipelines.outputs.encoding import Compression
    from pixelmill.pipelines.outputs.publishing import publish
    from pixelmill.pipelines.stores.access import Access
    from pixelmill.pipelines.stores.folder import Folder
    from pixelmill.workers.pictures import Picture
    from pixelmill.workers.stages import StageContext
    from pixelmill.workers.stages.fingerprint import FingerprintConfig

    stage = FingerprintConfig.model_validate({}).build(StageContext("cpu", 1, 1, None))
    out = Folder(str(folder / "run"), Access())
    out.publish("_run/spec.yaml", b"version: 1\n")
    random = np.random.default_rng(0)
    centres_KD = random.normal(size=(40, 64))
    texts = [pa.field(name, pa.string()) for name in ERROR_COLUMNS]
    schema = pa.schema([*INPUT_FIELDS, pa.field("embedding", pa.list_(pa.float32(), 64)), *stage.fields, *texts])
    for part, block in enumerate(blocks(rows, 2000)):
        groups = random.integers(40, size=block.stop - block.start)
        samples = [stage.prepare(Picture(torch.from_numpy(noise(random, int(group))))) for group in groups]
        columns = {name: column.to_pylist() for name, column in stage.run(samples).columns.items()}  # pyright: ignore[reportAttributeAccessIssue]
        vectors = (centres_KD[groups] + 0.4 * random.normal(size=(len(groups), 64))).tolist()
        rows_of_part = [
            {"id": f"{row:032x}", "uri": f"s3://photos/2026/{row:09d}.jpg", "embedding": vectors[place]}
            | {name: values[place] for name, values in columns.items()}
            for place, row in enumerate(range(block.start, block.stop))
        ]
        publish(out, f"part-{part:06d}", pa.Table.from_pylist(rows_of_part, schema), {}, Compression())
    start_s = time.perf_counter()
    text = page_of(content_of(out.uri, Wanted(points=rows), {}, lambda _: None))
    (folder / "report.html").write_text(text)
    print(
        f"{rows:,} points: {len(text) / 1e6:.1f} MB in {time.perf_counter() - start_s:.0f} s, {folder / 'report.html'}"
    )


def noise(random: np.random.Generator, group: int) -> np.ndarray:
    """A picture CHW of coloured squares, in the tint of its group."""
    small = (
        random.integers(0, 255, (3, 12, 12)) * 0.5 + np.array([group * 3, 255 - group * 5, 128])[:, None, None] * 0.5
    )
    return small.clip(0, 255).astype(np.uint8).repeat(8, 1).repeat(8, 2)


if __name__ == "__main__":
    main()
