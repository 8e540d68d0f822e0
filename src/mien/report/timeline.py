"""The page of one video: who showed what, when, and for how long."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mien.analysis.video.timeline import Episode, Person, Timeline
from mien.analysis.video.timeline_chart import clock, draw_timeline, label_colours
from mien.report.page import figure_uri, write_page

#: Shorter episodes, in seconds, are left to the table of frames.
_SHORTEST_S: Final = 0.5
#: Most episodes on the page: the longest.
_EPISODES: Final = 200
#: Width in inches of the picture that phones show.
_NARROW: Final = 4.6


def write_timeline_page(path: Path, timeline: Timeline) -> None:
    """Write a video's timeline, its people and their episodes as one HTML file.

    Args:
        path: The file.
        timeline: What was read.

    Raises:
        OSError: The file cannot be written.
    """
    people = timeline.summary()
    episodes = timeline.episodes(min_s=_SHORTEST_S)
    shown = sorted(episodes, key=lambda each: -each.duration_s)[:_EPISODES]
    labels = [name for name in timeline.labels if any(each.shares[name] for each in people)]
    length = timeline.end_s - (float(timeline.time_s[0]) if len(timeline) else 0.0)
    name = Path(timeline.source).name or "a video"
    write_page(
        path,
        "timeline.html",
        title=f"Timeline of {name}",
        lead="Who showed what, when and for how long, as read in the faces.",
        tiles=(
            ("of video read", clock(length)),
            ("frames read", f"{len(timeline):,}"),
            ("person followed" if len(people) == 1 else "people followed", f"{len(people):,}"),
            ("shown most", _shown_most(people)),
        ),
        wide=figure_uri(draw_timeline(timeline)),
        narrow=figure_uri(draw_timeline(timeline, width=_NARROW)),
        labels=labels,
        colours=label_colours(timeline.labels),
        people=[_person_row(person, labels) for person in people],
        episodes=[_episode_row(episode) for episode in episodes if episode in shown],
        left_out=len(episodes) - len(shown),
        shortest=f"{_SHORTEST_S:g}",
        source=timeline.source,
    )


def _shown_most(people: Sequence[Person]) -> str:
    """Return what was shown for the longest time, all people together."""
    seconds: dict[str, float] = {}
    for person in people:
        for name, share in person.shares.items():
            seconds[name] = seconds.get(name, 0.0) + share * person.seen_s
    return max(seconds, key=seconds.__getitem__) if seconds else "nobody"


def _person_row(person: Person, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "track": person.track,
        "times": [
            clock(each, tenths=True) for each in (person.first_s, person.last_s, person.seen_s)
        ],
        "shares": [person.shares[name] for name in labels],
        "most": max(person.shares.values()),
    }


def _episode_row(episode: Episode) -> dict[str, Any]:
    return {
        "start": clock(episode.start_s, tenths=True),
        "track": episode.track,
        "expression": episode.expression,
        "lasts": f"{episode.duration_s:.1f} s",
        "confidence": episode.confidence,
    }
