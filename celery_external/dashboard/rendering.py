"""Pages made of the templates: escaped, folded where they are long, with times for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from celery_external.webhooks.templating import make_environment, moment, write_value

from .assets import load_assets
from .exchange import Response, respond_page

if TYPE_CHECKING:
    from jinja2 import Environment

    from .visit import Visit

#: Characters that are shown without a fold, and of a folded text's beginning.
MAX_UNFOLDED: Final = 240
_BEGINNING = 120
#: Characters of a text that are on a page at all.
MAX_SHOWN: Final = 20_000

#: htmx as we need it: it runs nothing, writes no style, keeps no page, and asks nobody else.
_HTMX: Final = json.dumps(
    {
        "allowEval": False,
        "allowScriptTags": False,
        "includeIndicatorStyles": False,
        "selfRequestsOnly": True,
        "historyEnabled": False,
        "historyCacheSize": 0,
        "timeout": 30_000,
    }
)


@dataclass(frozen=True, slots=True)
class Folded:
    """A text for people: its beginning, what of it is shown, and how long it is."""

    beginning: str
    shown: str
    length: int

    @property
    def is_long(self) -> bool:
        """Whether it is folded."""
        return self.length > MAX_UNFOLDED or self.shown.count("\n") > 8  # noqa: PLR2004 - lines

    @property
    def is_cut(self) -> bool:
        """Whether some of it is not on the page."""
        return self.length > len(self.shown)


def show(
    visit: Visit | None, template: str, status: int = 200, *, root: str = "", **context: Any
) -> Response:
    """A page; without a visit one for somebody who was not let in, to the dashboard at ``root``."""
    if visit is not None:
        root = visit.request.root
    page = (
        environment()
        .get_template(f"dashboard/{template}")
        .render(
            visit=visit,
            root=root,
            base=f"{root}/jobs",
            assets={name: root + asset.path for name, asset in load_assets().items()},
            htmx=_HTMX,
            now=datetime.now(UTC),
            **context,
        )
    )
    return respond_page(status, page)


@cache
def environment() -> Environment:
    """The templates, and what they call.

    Raises:
        OptionError: Jinja2 is not installed.
    """
    made = make_environment(
        "Dashboard",
        "dashboard",
        moment=moment,
        iso=datetime.isoformat,
        ago=tell_distance,
        span=tell_span,
        fold=fold,
        mark=mark,
        number=tell_number,
    )
    made.globals["words"] = STATE_WORDS
    return made


#: A state, for people.
STATE_WORDS: Final[Mapping[str, str]] = {
    "PENDING": "pending",
    "STARTED": "started",
    "PARKED": "parked",
    "RETRY": "to be retried",
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
    "REVOKED": "cancelled",
}


def fold(value: Any) -> Folded:
    """A value for people, however long: JSON, and text as it is."""
    text = write_value(value)
    return Folded(" ".join(text[:_BEGINNING].split()), text[:MAX_SHOWN], len(text))


def mark(text: str) -> str:
    """A short name for an element that is about this text, which may have spaces."""
    return sha256(text.encode(errors="replace")).hexdigest()[:12]


def tell_distance(at: datetime, now: datetime) -> str:
    """How far away a time is, in words."""
    span = tell_span(abs(at - now))
    return f"in {span}" if at > now else f"{span} ago"


_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"))


def tell_span(span: timedelta | float) -> str:
    """A length of time in one or two units."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    for place, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            whole, rest = divmod(int(seconds), size)
            below, name = _UNITS[place + 1] if place + 1 < len(_UNITS) else (1, "s")
            more = rest // below
            is_worth_it = more and whole < 10  # noqa: PLR2004 - of many days no hours
            return f"{whole} {unit} {more} {name}" if is_worth_it else f"{whole} {unit}"
    return f"{int(seconds)} s"


def tell_number(value: float) -> str:
    """A number without needless digits."""
    return f"{value:g}" if isinstance(value, float) else str(value)
