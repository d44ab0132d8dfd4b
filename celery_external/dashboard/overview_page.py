"""The overview: what is parked now, how jobs have ended, and what is not as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from celery_external.figures import Timeline

from .charts import KINDS, draw_outcomes, draw_tasks, draw_waiting, name_ranges
from .exchange import Response
from .rendering import show
from .visit import Visit

#: Hours, and steps, of the chart of outcomes.
_SPANS = {"1": (1, 30), "24": (24, 48), "168": (168, 56)}
_NAMES = {"1": "hour", "24": "day", "168": "week"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table that has the same as the chart of outcomes."""

    at: str
    counts: tuple[int, ...]


def show_overview(visit: Visit) -> Response:
    """The page."""
    query = dict(visit.request.pairs)
    span = query.get("hours", "24")
    span = span if span in _SPANS else "24"
    hours, steps = _SPANS[span]
    stats = visit.external.stats()
    timeline = visit.external.timeline(hours=hours, steps=steps)
    kinds = [kind for kind in KINDS if any(timeline.outcomes.get(kind, ()))]
    return show(
        visit,
        "overview.html",
        stats=stats,
        timeline=timeline,
        charts={
            "tasks": draw_tasks(stats),
            "outcomes": draw_outcomes(timeline, _NAMES[span]),
            "waiting": draw_waiting(timeline),
        },
        kinds=kinds,
        lines=_lines(timeline, kinds),
        ranges=list(
            zip(
                name_ranges([bound for bound, _ in timeline.waiting]),
                (count for _, count in timeline.waiting),
                strict=True,
            )
        ),
        span=span,
        spans=_NAMES,
        is_live=query.get("live") == "1",
        here=visit.link("/"),
    )


def _lines(timeline: Timeline, kinds: Sequence[str]) -> list[Line]:
    """The steps in which something ended, the newest first."""
    found = []
    for step, counts in enumerate(zip(*(timeline.outcomes[kind] for kind in kinds), strict=True)):
        if any(counts):
            at = timeline.since + step * timeline.step
            found.append(Line(f"{at:%m-%d %H:%M} to {at + timeline.step:%H:%M}", counts))
    return found[::-1]
