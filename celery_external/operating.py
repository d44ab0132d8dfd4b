"""What operators do with all jobs at once: figures, findings, the sweep, the purge, the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from . import listing, retention
from .installation import Installation
from .sweep import sweep

if TYPE_CHECKING:
    from .figures import Count, Finding, Stats, Timeline


class Operating:
    """The operators' half of ``External``; it is not made by itself."""

    _installation: Installation

    def count_jobs(
        self,
        *,
        labels: Sequence[str] | None = None,
        meta: Mapping[str, Any] | None = None,
        order: str | None = None,
        using: Any = None,
        **filters: Any,
    ) -> Count:
        """How many jobs fit all filters, which are those of ``find_jobs``.

        Exact up to 10,000. Above, on PostgreSQL, it is what the planner expects from the table's
        statistics, and ``Count.exact`` is False; on SQLite all are counted.

        Arguments:
            labels: All of these labels.
            meta: Meta that contains this JSON.
            order: Count what is in the list of this order, such as ``-parked``: a job without
                that time is not. Default: all.
            using: A transaction to read in.
            **filters: As of ``find_jobs``.

        Raises:
            OptionError: A filter or order cannot be used.
        """
        given = {**filters, "labels": labels, "meta": meta}
        return listing.count(self._installation, given, order=order, using=using)

    def stats(self) -> Stats:
        """What is parked, by task and label, since when, and what hangs.

        Its cost does not grow with what is settled, and with what is parked only up to a limit;
        above that, numbers are estimates (``Count.exact``).
        """
        from . import overview  # noqa: PLC0415 - only who looks at figures needs it

        return overview.read_stats(self._installation)

    def timeline(self, *, hours: float = 24, steps: int = 48) -> Timeline:
        """How the jobs of the last hours ended, step by step, and for how long they were parked.

        Jobs that are purged, or were started anew, are not in it.

        Arguments:
            hours: From so many hours ago until now, by the database's clock; at most ten years.
            steps: How many equal parts; 1 to 1000.

        Raises:
            OptionError: One of the two cannot be used.
        """
        from . import overview  # noqa: PLC0415 - only who looks at figures needs it

        return overview.read_timeline(self._installation, hours=hours, steps=steps)

    def diagnose(self) -> tuple[Finding, ...]:
        """Look at everything that is known to go wrong, and say what to do about it.

        Needs no worker. Never raises for what it finds: a database that is away is a finding.
        """
        from . import diagnosis  # noqa: PLC0415 - only the doctor needs it

        return diagnosis.diagnose(self._installation)

    def purge(
        self,
        *,
        older_than: timedelta | float | None = None,
        state: str | None = None,
        task: str | None = None,
        keep_history: bool | None = None,
        limit: int | None = None,
    ) -> int:
        """Delete settled jobs now; the sweep does it by ``external_retention``.

        A job that is open or owed stays, and so does one whose task is to be told of a late
        signal. One that was replaced by other steps, of which the last has its id, stays while a
        job of the canvas is open, and for 30 days at least. In batches of 500, each committed by
        itself.

        Arguments:
            older_than: Seconds, or a timedelta, since the outcome; 0: all. Default:
                ``external_retention``.
            state: Only SUCCESS, FAILURE or REVOKED.
            task: Only jobs of the task with this name.
            keep_history: Whether their history stays in the database. Default: what
                ``external_purge_history`` says.
            limit: At most so many. Default: all.

        Returns:
            How many jobs went.

        Raises:
            OptionError: An argument cannot be used, or ``older_than`` is missing where
                ``external_retention`` is None.
        """
        return retention.purge(
            self._installation,
            older_than=older_than,
            state=state,
            task=task,
            keep_history=keep_history,
            limit=limit,
        )

    def sweep(self) -> int:
        """Do now what is due: timeouts, lost triggers, polls, messages to send again, the purge.

        Beat does this; to call it by hand is safe at any time.

        Returns:
            How many jobs were due.
        """
        return sweep(self._installation)

    def upgrade(self) -> None:
        """Bring the database's tables up to date (``celery -A proj external upgrade``)."""
        self._installation.upgrade()

    def current_revision(self) -> str | None:
        """The revision of the database's tables; None: there are none of ours."""
        return self._installation.read_revision()

    @property
    def database_name(self) -> str:
        """The database for people: without a password, a file by its absolute path."""
        return self._installation.database_name
