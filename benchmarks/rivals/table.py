"""The figures as Markdown, and their place in a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from measurement import BATCH, Measurement, Ratio, Score, Timing, paired_ratio

BEGIN: Final = "<!-- rivals: written by benchmarks/rivals/compare.py -->"
END: Final = "<!-- rivals: end -->"

_NOTHING: Final = "–"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the figures hold for.

    Attributes:
        machine: Processor, cores and Python.
        date: When.
        command: As it was given.
        threads: Processor threads of each package.
        rounds: Rounds that count.
        load: Processes that wanted a core when the run began, by the system's one-minute mean.
        photo: The photo's name and size.
        notes: What else a reader must know.
    """

    machine: str
    date: str
    command: str
    threads: int
    rounds: int
    load: float
    photo: str
    notes: tuple[str, ...] = ()


def to_markdown(measurements: Sequence[Measurement], conditions: Conditions) -> str:
    """Return the section's text: conditions, three tables and the versions.

    Args:
        measurements: The first is what the others are compared with.
        conditions: What they hold for.
    """
    parts = [
        _introduction(conditions),
        _costs(measurements),
        _speed(measurements, conditions),
        *_accuracy(measurements),
        _versions(measurements),
    ]
    return "\n\n".join(part for part in parts if part)


def replace_section(page: str, section: str) -> str:
    """Return ``page`` with ``section`` between the markers, which are added where they lack.

    Raises:
        ValueError: One marker is there without the other behind it.
    """
    block = f"{BEGIN}\n\n{section}\n\n{END}"
    if BEGIN not in page and END not in page:
        return f"{page.rstrip()}\n\n## Against other packages\n\n{block}\n"
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected {BEGIN} and, behind it, {END}: one is missing")
    return before + block + after


def _introduction(conditions: Conditions) -> str:
    threads = "one thread" if conditions.threads == 1 else f"{conditions.threads} threads"
    rounds = "one round" if conditions.rounds == 1 else f"{conditions.rounds} rounds"
    notes = "".join(f" {note}" for note in conditions.notes)
    return (
        f"`{conditions.command}`, {conditions.date}, {conditions.machine}, load when it began "
        f"{conditions.load:.1f}.{notes} Each package is in an environment of its own, in a process "
        f"of its own with {threads} and no GPU. They took turns, in another order each round; "
        f"medians of {rounds}, and in brackets the least and the most of the "
        "rounds' ratios to the first row."
    )


def _costs(measurements: Sequence[Measurement]) -> str:
    first = measurements[0]
    rows = [
        (
            each.label,
            _megabytes_cell(each.installed_mb, None if each is first else first.installed_mb),
            _time_cell(each, first, "import_s", "s"),
            _time_cell(each, first, "cold_s", "s"),
            _megabytes_cell(each.memory_mb, None if each is first else first.memory_mb),
            f"failed: {each.failure}" if each.failure else each.package.remark,
        )
        for each in measurements
    ]
    head = ("package", "installed", "import", "cold process to first result", "memory", "remark")
    return _table(head, rows)


def _speed(measurements: Sequence[Measurement], conditions: Conditions) -> str:
    first = measurements[0]
    rows = [
        (
            each.label,
            _time_cell(each, first, "face_ms", "ms"),
            _rate_cell(each, first),
            _time_cell(each, first, "photo_ms", "ms"),
            _NOTHING if each.photo_faces is None else str(each.photo_faces),
        )
        for each in measurements
        if each.times.get("face_ms")
    ]
    head = (
        "package",
        "a ready crop",
        f"in batches of {BATCH}",
        f"a photo, {conditions.photo}",
        "faces seen in it",
    )
    return _table(head, rows) if rows else ""


def _accuracy(measurements: Sequence[Measurement]) -> list[str]:
    """Return a table for each split that any package has read."""
    splits = list(dict.fromkeys(split for each in measurements for split in each.scores))
    return [_split_accuracy(measurements, split) for split in splits]


def _split_accuracy(measurements: Sequence[Measurement], split: str) -> str:
    rows = []
    faces = 0
    for each in measurements:
        scores = each.scores.get(split)
        if scores:
            ready, default = scores.get("ready"), scores.get("default")
            rows.append((each.label, *_score_cells(ready), *_score_cells(default)))
            faces = max(score.faces for score in scores.values())
    head = (
        f"{split}, {faces:,} faces",
        "ready crops",
        "macro-F1",
        "by its usual call",
        "macro-F1",
    )
    return _table(head, rows)


def _versions(measurements: Sequence[Measurement]) -> str:
    texts = []
    for each in measurements:
        there = [name for name in each.package.engines if name in each.versions]
        engines = ", ".join(f"{name} {each.versions[name]}" for name in there)
        if engines:
            texts.append(f"{each.package.name}: {engines}")
    return f"Versions: {'; '.join(texts)}." if texts else ""


def _time_cell(each: Measurement, first: Measurement, timing: Timing, unit: str) -> str:
    value = each.median(timing)
    if value is None:
        return _NOTHING
    text = f"{_digits(value)} {unit}"
    if each is first:
        return text
    return text + _ratio_text(paired_ratio(each.times[timing], first.times.get(timing, [])))


def _rate_cell(each: Measurement, first: Measurement) -> str:
    value = each.median("batch_ms")
    if value is None:
        return _NOTHING
    text = f"{_digits(BATCH * 1e3 / value)} faces/s"
    if each is first:
        return text
    # A rate is as many times as high as the other's time is long.
    reference = first.times.get("batch_ms", [])
    return text + _ratio_text(paired_ratio(reference, each.times["batch_ms"]))


def _megabytes_cell(value: float | None, reference: float | None) -> str:
    if value is None:
        return _NOTHING
    ratio = f", {_digits(value / reference)} ×" if reference is not None else ""
    return f"{value:,.0f} MB{ratio}"


def _ratio_text(ratio: Ratio | None) -> str:
    if ratio is None:
        return ""
    low, high = _digits(ratio.low), _digits(ratio.high)
    return f", {_digits(ratio.median)} × ({low} to {high})"


def _score_cells(score: Score | None) -> tuple[str, str]:
    if score is None:
        return _NOTHING, _NOTHING
    low, high = score.interval
    interval = f"{100 * low:.1f} to {100 * high:.1f} %"
    unknown = f"; {score.unknown:,} as none of the seven" if score.unknown else ""
    return f"{100 * score.accuracy:.2f} % ({interval}{unknown})", f"{score.macro_f1:.3f}"


def _digits(value: float) -> str:
    """Return a positive number with about three digits.

    >>> _digits(0.2716), _digits(31.48), _digits(1532.7)
    ('0.272', '31.5', '1,533')
    """
    for limit, places in ((1, 3), (10, 2), (100, 1)):
        if value < limit:
            return f"{value:.{places}f}"
    return f"{value:,.0f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines
    )
