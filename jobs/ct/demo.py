"""The demo of CT: an archive of phantoms with every defect, indexed, ingested, shown and pretrained on, all inside one folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelmill.jobs import extras
from pixelmill.jobs.ct import show
from pixelmill.jobs.ct.source import with_decoder
from pixelmill.jobs.documents.parsing import Document, to_yaml
from pixelmill.jobs.id_keys import make_key
from pixelmill.jobs.job import check_document
from pixelmill.jobs.outcome import Outcome
from pixelmill.jobs.run import run_job
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.terminal.console import PrintableConsole
from pixelmill.pipelines import explore
from pixelmill.pipelines.ct.verdict_counts import VerdictKind, Verdicts, verdict_counts
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.wording import counted

if TYPE_CHECKING:
    from pixelmill.workers.ct.phantom_archive import Defect, Expected, PhantomFile

PRETRAINING: dict[str, object] = {
    "widths": [16, 32, 64, 128],
    "size_px": 128,
    "crop_px": 64,
    "batch": 8,
}
"""Settings with which two cores pretrain for about a minute."""


@dataclass(frozen=True)
class Size:
    """How large the demo is. `steps` of pretraining; 0 leaves it out."""

    series: int = 23
    slices: int = 32
    side_px: int = 128
    steps: int = 200


def run(folder: Path, around: Surroundings, size: Size | None = None) -> int:
    """Do everything; returns 0 where the index found what was planted. A second run in the same folder resumes."""
    size = size or Size()
    extras.require("ct", "ct demo")
    if size.steps:
        extras.require("train", "ct demo")
    console = PrintableConsole(highlight=False)
    archive, key = folder / "archive", folder / "ct.key"
    planted, failing = make_archive(archive, size)
    if not key.exists():
        make_key(key)
    _say(console, f"archive of phantoms: {size.series} series in {archive}")

    outcome, index = _indexed(archive, folder / "index", key, around)
    is_found = _compare(console, planted, failing, verdict_counts(index), outcome)

    document: Document = {
        "version": 1,
        "source": {"uri": str(folder / "index"), "format": "ct-index", "decoder": "ct-series"},
        "out": str(folder / "slices"),
        "stages": ["hu"],
    }
    slices = check_document(document, name="ct demo", environment={})
    run_job(slices, around)
    rows = sum(batch.num_rows for batch in explore.batches(slices.open_out(), ["id"]))
    _say(
        console,
        f"\ningested: {counted(rows, 'slice')} in Hounsfield units in {folder / 'slices'}; how each series is shown:",
    )
    asked = show.Asked(str(folder / "slices"), str(folder / "sheet.png"), count=size.series)
    sheets = show.show(asked, lambda text: _say(console, f"  {text}"))
    if size.steps:
        sheets += _pretrained(folder, size, around, console)
    _say(console, "\n".join(["\nlook at:", *(f"  {sheet}" for sheet in sheets)]))
    return 0 if is_found else 1


def make_archive(folder: Path, size: Size) -> tuple[dict[Defect, int], int]:
    """Write the archive; returns how many series have each defect, and how many objects must fail. A file that is there
    already stays, so that a second run finds nothing that changed."""
    from pixelmill.workers.ct.phantom_archive import phantom_archive, strangers

    planted: Counter[Defect] = Counter()
    failing = 0
    for defect, files in phantom_archive(size.series, slices=size.slices, side_px=size.side_px):
        for file in files:
            _write(folder, file)
        planted[defect] += 1
        failing += _failing(defect.expected, len(files))
    for file in strangers():
        _write(folder, file)
    return dict(planted), failing


def _failing(expected: Expected, files: int) -> int:
    """The objects of one series that must fail: some, or all where none is usable and no reason is expected."""
    return files if _is_all_broken(expected) else expected.failed


def _is_all_broken(expected: Expected) -> bool:
    return expected.failed > 0 and not expected.usable_2d


def _write(folder: Path, file: PhantomFile) -> None:
    path = folder / file.name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)


def _indexed(archive: Path, index: Path, key: Path, around: Surroundings) -> tuple[Outcome, Folder]:
    document: Document = {
        "version": 1,
        "source": {"uri": str(archive), "format": "dicom", "decoder": "dicom-header"},
        "out": str(index),
        "stages": [{"ct-index": {"key": str(key)}}],
        "run": {"max_failed_fraction": 1.0, "failures": "ok"},
    }
    job = check_document(document, name="ct demo", environment={})
    return run_job(job, around), job.open_out()


def _compare(
    console: PrintableConsole, planted: dict[Defect, int], failing: int, found: Verdicts, outcome: Outcome
) -> bool:
    """Print what was found beside what was planted; whether they are the same."""
    defects: dict[VerdictKind, list[str]] = {}
    expected: Verdicts = Counter()
    for defect, count in planted.items():
        if not _is_all_broken(defect.expected):
            verdict = _verdict(defect.expected)
            defects.setdefault(verdict, []).append(defect.name)
            expected[verdict] += count
    _say(console, "\nplanted  found  verdict")
    for verdict in [*expected, *(found.keys() - expected.keys())]:
        names = ", ".join(defects.get(verdict, ["nothing that was planted"]))
        _say(console, f"{expected[verdict]:7,} {found[verdict]:6,}  {_worded(verdict)} <- {names}")
    failed = outcome.account.failed
    _say(console, f"{failing:7,} {failed:6,}  objects in failed/ <- malformed or truncated")
    return expected == found and failing == failed


def _verdict(expected: Expected) -> VerdictKind:
    return expected.usable_2d, expected.usable_3d, expected.reasons_2d | expected.reasons_3d


def _worded(verdict: VerdictKind) -> str:
    flat, volume, reasons = verdict
    usable = {(True, True): "2-D and 3-D", (True, False): "2-D alone", (False, False): "not usable"}[flat, volume]
    return f"{usable}: {', '.join(sorted(reasons)).replace('_', ' ')}" if reasons else usable


def _pretrained(folder: Path, size: Size, around: Surroundings, console: PrintableConsole) -> list[str]:
    """Pretrain an autoencoder on the slices, masked, and embed them with it; returns what there is to look at of both."""
    from pixelmill.jobs.train import train_job
    from pixelmill.jobs.training.job import read_recipe_file

    recipe: dict[str, Any] = {
        "recipe": "ct-autoencoder",
        "data": str(folder / "slices"),
        "out": str(folder / "encoder"),
        "hold_out": 0,  # of so few patients a share may be none: their ids depend on the key
        "settings": {**PRETRAINING, "steps": size.steps},
        "run": {"cache_disk_gb": 0},  # which would lie outside of the folder
    }
    job = read_recipe_file(to_yaml(recipe), name="ct demo", overrides=[], environment={})
    _say(console, f"\n{train_job(job, around)}")
    _say(console, f"\n{_embedded(folder, around)}")
    asked = show.Asked(
        str(folder / "slices"),
        str(folder / "learned.png"),
        ("wide",),
        count=4,
        model=str(folder / "encoder"),
        codes=str(folder / "codes"),
    )
    return [*show.show(asked, lambda _: None), str(folder / "encoder/curve.png")]


def _embedded(folder: Path, around: Surroundings) -> str:
    """Codes of the slices by the encoder, and of the series by theirs."""
    document: Document = {
        "version": 1,
        "source": with_decoder(str(folder / "slices"), "embed"),
        "out": str(folder / "codes"),
        "stages": [{"embed": {"model": str(folder / "encoder")}}],
    }
    job = check_document(document, name="ct demo", environment={})
    return "\n".join(run_job(job, around).made)


def _say(console: PrintableConsole, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
