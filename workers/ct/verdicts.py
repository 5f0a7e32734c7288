"""Decide for what a CT series is usable: its slices for 2-D work, the whole of it as a volume; with the reasons why not.

A decision never rests on DERIVED, exposure or acquisition number alone: archives use them in many ways.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pixelmill.workers.ct.facts import Layout, ObjectFacts, ObjectKind
from pixelmill.workers.ct.frames import order_along_normal
from pixelmill.workers.ct.geometry import (
    LEAST_TILT_DEGREES,
    SAME_PLACE_MM,
    Geometry,
    Stack,
    is_one_orientation,
    is_one_spacing,
    normal_of,
    stack_of,
)
from pixelmill.workers.ct.transfer_syntaxes import refusal_of

LEAST_SLICES = 4
"""The fewest slices that count as a volume: fewer are most often a localizer or a sample."""
LEAST_BITS = 9
"""Values of fewer bits are windowed pictures, not Hounsfield units."""
_NOT_SLICES: dict[ObjectKind, str] = {
    "localizer": "localizer: an overview picture, not a slice",
    "secondary capture": "secondary_capture: a picture of a screen or a derived one, not a slice",
    "report": "report: holds no picture",
    "multi-frame": "multi_frame: frames state no position, orientation, spacing or scale; convert it to slices, as with emf2sf",
    "directory": "directory: the index of a medium, holds no picture",
    "other": "other_object: its SOP class is none of CT's",
}


@dataclass(frozen=True)
class Member:
    """One object of a series, or one frame of it, as far as verdicts depend on it; `patient` is a keyed id, `problem` why it is
    not a usable slice, as "kind: sentence"."""

    patient: str
    kind: ObjectKind
    layout: Layout | None
    geometry: Geometry | None
    phase_percent: float | None = None
    acquisition: int | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Verdict:
    """For what a series is usable. `reasons_2d` count the objects that are no usable slices, by kind; `reasons_3d` say
    why the usable slices are no volume. `members` are the indices of the usable slices along the normal.
    """

    usable_2d: bool
    usable_3d: bool
    reasons_2d: dict[str, int]
    reasons_3d: tuple[str, ...]
    members: tuple[int, ...]
    stack: Stack | None


def slice_problem(facts: ObjectFacts, installed: frozenset[str]) -> str | None:
    """Why an object is not a usable slice, as "kind: sentence"; None for one that is. `installed` are the packages that
    decode."""
    if (not_slice := _NOT_SLICES.get(facts.kind)) is not None and not facts.frames:
        return not_slice
    if facts.kind == "slice" and facts.layout is not None and facts.layout.frames > 1:
        return _NOT_SLICES["multi-frame"]
    if facts.refusal is not None:
        return facts.refusal
    if facts.is_burned_in:
        return "burned_in: the picture may show the patient's name (BurnedInAnnotation is YES)"
    bits = facts.layout.bits_stored if facts.layout else 0
    if (refusal := refusal_of(facts.transfer_syntax, installed, bits)) is not None:
        return f"transfer_syntax: {refusal}"
    return _layout_problem(facts.layout) or _scale_problem(facts)


def verdict_of(members: Sequence[Member]) -> Verdict:
    """For what these objects of one series are usable together."""
    reasons_2d = Counter(each.problem.partition(":")[0] for each in members if each.problem is not None)
    if len({each.patient for each in members}) > 1:
        reasons_2d["two_patients"] = len(members)
        return Verdict(
            False, False, dict(reasons_2d), ("two_patients: one series has objects of several patients",), (), None
        )
    usable = [index for index, each in enumerate(members) if each.problem is None]
    placed = [index for index in usable if members[index].geometry is not None]
    reasons_3d, stack = _volume_problems([members[index] for index in placed], len(usable) - len(placed))
    order = [placed[index] for index in stack.order_N] if stack else _by_direction(members, placed)
    rest = [index for index in usable if index not in set(placed)]
    return Verdict(bool(usable), not reasons_3d, dict(reasons_2d), tuple(reasons_3d), (*order, *rest), stack)


def _by_direction(members: Sequence[Member], placed: Sequence[int]) -> list[int]:
    """Slices of several directions, direction by direction, each along its normal."""
    geometries = [geometry for index in placed if (geometry := members[index].geometry) is not None]
    return [placed[place] for place in order_along_normal(geometries)]


def _layout_problem(layout: Layout | None) -> str | None:
    if layout is None:
        return "no_pixels: the pixel data is missing or empty"
    if layout.samples != 1 or not layout.is_grey:
        return "colour: the picture has colours, and CT values have none"
    if layout.bits_allocated not in (8, 16, 32, 64) or layout.bits_stored > layout.bits_allocated:
        return "bits: BitsAllocated and BitsStored do not fit together"
    return None


def _scale_problem(facts: ObjectFacts) -> str | None:
    assert facts.layout is not None
    if facts.layout.bits_stored < LEAST_BITS:
        return f"not_hu: values of {facts.layout.bits_stored} bits are a windowed picture, not Hounsfield units"
    if not facts.has_hu_scale and facts.kind == "picture":
        return (
            "not_hu: a picture of 16 bits without a sign holds no negative values, so an intercept is missing; state it with "
            "--picture-intercept"
        )
    if not facts.has_hu_scale:
        return "not_hu: RescaleSlope and RescaleIntercept are missing, so values are not Hounsfield units"
    if facts.slope == 0:
        return "not_hu: RescaleSlope is 0"
    if facts.is_other_quantity:
        return "not_hu: RescaleType states another quantity than Hounsfield units"
    if facts.layout.is_inverted:
        return "not_hu: MONOCHROME1, of which readers disagree whether its values are inverted"
    return None


def _volume_problems(slices: Sequence[Member], unplaced: int) -> tuple[list[str], Stack | None]:
    """Why usable slices are no volume, and their order where they have one orientation."""
    if unplaced:
        return [f"no_position: {unplaced:,} slices state no position, orientation or spacing"], None
    geometries = [each.geometry for each in slices if each.geometry is not None]
    if len(geometries) < LEAST_SLICES:
        return [f"few_slices: {len(geometries)} usable, and {LEAST_SLICES} are the least"], None
    if not is_one_orientation(geometries):
        return ["mixed_orientation: slices have several directions"], None
    try:
        normal_of(geometries[0].orientation)
    except ValueError as error:
        return [f"orientation: {error}"], None
    stack = stack_of(geometries)
    return [*_mixtures(slices, geometries), *_irregularities(slices, stack)], stack


def _mixtures(slices: Sequence[Member], geometries: Sequence[Geometry]) -> list[str]:
    problems: list[str] = []
    if len({(each.layout.rows, each.layout.columns) for each in slices if each.layout}) > 1:
        problems.append("mixed_matrix: slices have several numbers of rows or columns")
    if not is_one_spacing(geometries):
        problems.append("mixed_spacing: pixels have several sizes")
    return problems


def _irregularities(slices: Sequence[Member], stack: Stack) -> list[str]:
    problems: list[str] = []
    if stack.doubled:
        problems.append(_doubled(slices, stack))
    if stack.missing:
        problems.append(f"missing_slices: {stack.missing:,} in between")
    if stack.irregular:
        problems.append(f"irregular_spacing: {stack.irregular:,} steps differ from {stack.step_mm:.3g} mm")
    if stack.tilt_degrees >= LEAST_TILT_DEGREES:
        problems.append(f"tilt: {stack.tilt_degrees:.1f} degrees between the normal and the table")
    return problems


def _doubled(slices: Sequence[Member], stack: Stack) -> str:
    """Doubled positions are phases where every place has as many slices, or where a phase is stated."""
    places = Counter(round(place_mm / SAME_PLACE_MM) for place_mm in stack.places_mm_N)
    counts = set(places.values())
    phases = {(each.phase_percent, each.acquisition) for each in slices}
    several = len(slices) // max(1, len(slices) - stack.doubled)
    if (len(counts) == 1 and several > 1) or len({phase for phase, _ in phases}) > 1:
        return f"overlapping_phases: about {several} slices at every place"
    return f"doubled_slices: {stack.doubled:,} lie where another one lies"


def without_problem(member: Member, problem: str) -> Member:
    """The member with a problem that was found later, such as an object that another one repeats."""
    return replace(member, problem=problem)
