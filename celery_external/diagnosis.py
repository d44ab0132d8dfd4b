"""The doctor: what is known to go wrong is looked for, and what to do about it is said."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from . import limits, schema, states
from .errors import DatabaseUnavailableError
from .figures import Finding, Level
from .keepers import is_from, keeper_of
from .naming import external_tasks
from .store import ailing, purging

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Row, Transaction

logger = logging.getLogger("celery_external")

#: Jobs that are counted, and of which are named.
MOST, NAMED = 1000, 5
#: Sweeps that may be missed, and seconds that they take at the least.
MISSED, PATIENCE = 6, 60.0
#: Seconds that the purge may be behind: of a backlog each sweep does a part.
PURGE_PATIENCE = 3600.0
#: Seconds to wait for the broker.
BROKER_TIMEOUT = 5.0

Look = Callable[["Installation"], Iterator[Finding]]


def diagnose(installation: Installation) -> tuple[Finding, ...]:
    """Look at everything; see ``External.diagnose``."""
    found: list[Finding] = []
    for name, look in _LOOKS.items():
        try:
            found += list(look(installation))
        except DatabaseUnavailableError as exc:
            found.append(Finding(name, "error", str(exc), _DATABASE_REMEDY))
        except Exception as exc:
            logger.exception("The doctor cannot look at: %s", name)
            found.append(Finding(name, "error", f"It cannot be looked at: {exc!r}", _LOG_REMEDY))
    return tuple(found)


_DATABASE_REMEDY = (
    "See that the server runs and that external_database_url is right. Until then nothing is "
    "recorded: whoever signals gets an error and has to repeat"
)
_LOG_REMEDY = "The log has the traceback"


# --- The database, and the jobs in it -------------------------------------------------------------


def _look_at_database(installation: Installation) -> Iterator[Finding]:
    problem = installation.find_schema_problem()
    yield Finding("database", "ok", f"{installation.database_name} answers")
    if problem is None:
        yield Finding("schema", "ok", f"The tables are at {schema.REVISION}, as they should be")
        with installation.database.alone() as tx:
            for look in (_look_at_sweep, _look_at_purge, _look_at_messages):
                yield from look(installation, tx)
    elif problem.found is None and installation.makes_itself:
        yield Finding("schema", "ok", "There are no tables yet: the first use makes them")
    else:
        remedy = f"Run: {problem.command}; or upgrade the package, if the tables are the newer"
        yield Finding("schema", "error", str(problem).partition(". Run: ")[0], remedy)


def _look_at_sweep(installation: Installation, tx: Transaction) -> Iterator[Finding]:
    settings = installation.settings
    patience = max(MISSED * settings.sweep_interval, PATIENCE)
    rows = ailing.find_unswept(tx, installation.namespace, patience, MOST)
    queue = settings.sweep_queue or installation.app.conf.task_default_queue
    yield _of_jobs(
        "sweep",
        "error",
        rows,
        f"{_number(rows)} waited for the sweep for more than {patience:.0f} s: nobody sweeps, or "
        "it does not keep up. Timeouts and repeats do not happen",
        f"Run celery beat, and a worker that takes the queue {queue}; or set "
        "external_sweep_in_worker = True; or run `celery -A <your app> external sweep` by cron",
        well="Nothing waits for the sweep",
    )


def _look_at_purge(installation: Installation, tx: Transaction) -> Iterator[Finding]:
    retention = installation.settings.retention
    if retention is None:
        yield Finding(
            "retention",
            "ok",
            "Settled jobs are kept for ever, as external_retention = None has it",
        )
    elif purging.is_due(tx, installation.namespace, retention + PURGE_PATIENCE):
        yield Finding(
            "retention",
            "warning",
            f"There are settled jobs older than external_retention, {retention:.0f} s: nobody "
            "sweeps, or more jobs end than the sweep purges",
            "See that something sweeps; `celery -A <your app> external purge` does it at once",
        )
    else:
        yield Finding("retention", "ok", "Settled jobs are purged in time")


def _look_at_messages(installation: Installation, tx: Transaction) -> Iterator[Finding]:
    namespace, settings = installation.namespace, installation.settings
    late = 10 * settings.resume_grace
    rows = ailing.find_owed(tx, namespace, late, MOST)
    yield _of_jobs(
        "owed",
        "warning",
        rows,
        f"{_number(rows)} had an outcome more than {late:.0f} s ago that Celery has not taken. "
        f"{_queues(rows)}",
        "See that workers take these queues and keep up with them; external_resume_queue has "
        "resumes pass a long queue",
        well="Celery takes the outcomes",
    )
    rows = ailing.find_stuck(tx, namespace, MOST)
    yield _of_jobs(
        "stuck",
        "error",
        rows,
        f"{_number(rows)} had their message sent again more than {states.MAX_SENDS} times, and no "
        f"worker took it. {_queues(rows)}",
        "See that a worker takes these queues and knows the tasks. An outcome is sent again, a "
        "job that is PENDING is not: cancel it and start it anew",
        well="No message is stuck",
    )
    rows = ailing.find_untaken(tx, namespace, settings.pending_grace, MOST)
    yield _of_jobs(
        "pending",
        "warning",
        rows,
        f"{_number(rows)} waited for a worker for more than {settings.pending_grace:.0f} s. "
        f"{_queues(rows)}",
        "Run a worker that takes these queues, or more of them",
        well="Workers begin the jobs",
    )


def _of_jobs(
    name: str, level: Level, rows: list[Row], text: str, remedy: str, *, well: str
) -> Finding:
    if not rows:
        return Finding(name, "ok", well)
    return Finding(name, level, text, remedy, tuple(row["id"] for row in rows[:NAMED]))


def _number(rows: list[Row]) -> str:
    if len(rows) == 1:
        return "1 job"
    return f"{len(rows):,}{' or more' if len(rows) == MOST else ''} jobs"


def _queues(rows: list[Row]) -> str:
    return f"Queues: {_some(sorted({row['queue'] or 'the default' for row in rows}))}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


# --- What else is needed --------------------------------------------------------------------------


def _look_at_broker(installation: Installation) -> Iterator[Finding]:
    with installation.app.connection_for_write(connect_timeout=BROKER_TIMEOUT) as connection:
        address = connection.as_uri()
        unreachable: tuple[type[BaseException], ...] = (*connection.connection_errors, OSError)
        try:
            connection.connect()
        except unreachable as exc:
            yield Finding(
                "broker",
                "error",
                f"{address} cannot be reached: {exc}",
                "See that the broker runs and that broker_url is right. Signals are recorded all "
                "the same, and the sweep sends what is owed when the broker is back",
            )
        else:
            yield Finding("broker", "ok", f"{address} answers")


def _look_at_results(installation: Installation) -> Iterator[Finding]:
    app = installation.app
    backend: Any = app.backend
    tasks = external_tasks(app)
    lifetime = limits.lifetime_of(backend)
    late = sorted(n for n, t in tasks.items() if limits.may_outlast(t.timeout, lifetime))
    kept = f"the {lifetime:.0f} s (result_expires) for which results are kept"
    if tasks and is_from(backend, "celery.backends.rpc"):
        yield Finding(
            "results",
            "warning",
            "The rpc:// result backend answers the process that made the call: a result of "
            f"{_some(sorted(tasks))} is lost when that has ended before it",
            "Use another result backend for long waits",
        )
    elif not lifetime or not late:
        yield Finding("results", "ok", "Results are kept for as long as jobs may wait")
    elif keeper_of(backend) is not None:
        yield Finding(
            "results",
            "ok",
            f"{_some(late)} may wait for longer than {kept}; the sweep has chords and saved "
            "groups with them kept for longer",
        )
    else:
        yield Finding(
            "results",
            "warning",
            f"{_some(late)} may wait for longer than {kept}, and celery-external cannot renew "
            f"them in {type(backend).__name__}: a chord or group with such a job is lost",
            "Use Redis, a database or django-celery-results, or raise result_expires, or give "
            "these tasks a timeout within it",
        )


def _look_at_secrets(installation: Installation) -> Iterator[Finding]:
    settings = installation.settings
    remedy = "Set external_secret_keys to a list with a text that secrets.token_urlsafe() gives"
    if settings.secret_keys:
        leads = f"links lead to {settings.base_url}" if settings.base_url else "links are off"
        yield Finding("secrets", "ok", f"Tokens are signed; {leads}")
    elif settings.base_url:
        said = "external_base_url is set and external_secret_keys is not: no link can be made"
        yield Finding("secrets", "error", said, remedy)
    else:
        yield Finding("secrets", "ok", "No secret is set: there are no tokens and links", remedy)


_LOOKS: dict[str, Look] = {
    "database": _look_at_database,
    "broker": _look_at_broker,
    "results": _look_at_results,
    "secrets": _look_at_secrets,
}
