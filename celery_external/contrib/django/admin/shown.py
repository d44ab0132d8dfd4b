"""Parts of a job as HTML, escaped whatever they contain."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.admin.utils import display_for_value
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from celery_external.glance import Glance
from celery_external.job import Progress
from celery_external.webhooks.templating import write_json

#: Characters: a longer text is folded.
MAX_SHOWN = 1000
#: Characters: no page gets longer by one value.
MAX_TEXT = 100_000
NOTHING = "-"


def show_moment(value: datetime | None) -> str:
    """A time of a :class:`Job`, as the admin shows times."""
    if value is not None and not settings.USE_TZ:
        value = timezone.make_naive(value)
    return str(display_for_value(value, NOTHING))


def show_text(text: str | None) -> str | SafeString:
    """A text with its lines; folded, if it is long."""
    if not text:
        return NOTHING
    # What the database keeps may have lone surrogates in it, which no page can show.
    text = text.encode(errors="replace").decode()
    cut = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
    if len(cut) <= MAX_SHOWN:
        return format_html("<pre>{}</pre>", cut)
    begin = f"{cut[:60]}… ({len(text):,} characters)"
    return format_html("<details><summary>{}</summary><pre>{}</pre></details>", begin, cut)


def show_json(value: Any) -> str | SafeString:
    """JSON for people; what is none, as Python has it."""
    return NOTHING if value is None else show_text(write_json(value))


def show_progress(progress: Progress | None) -> str:
    """How far the work is, in a line."""
    if progress is None:
        return NOTHING
    total = "" if progress.total is None else f" of {progress.total:g}"
    done = "" if progress.current is None else f"{progress.current:g}{total}"
    parts = (done, progress.message or "", show_moment(progress.at))
    return ", ".join(part for part in parts if part and part != NOTHING)


def show_history(seen: Glance) -> SafeString:
    """A table, oldest first, which says what is not in it."""
    lines = [
        {
            "entry": entry,
            "at": show_moment(entry.at),
            "reason": show_text(entry.reason),
            "details": show_json(dict(entry.details) or None),
        }
        for entry in seen.job.history
    ]
    context = {"lines": lines, "all_lines": str(seen.lines), "is_cut": seen.is_cut}
    return render_to_string("admin/celery_external/job/history_table.html", context)
