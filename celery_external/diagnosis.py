"""The doctor: what is known to go wrong, looked for, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from . import limits, schema
from .errors import DatabaseUnavailableError, SchemaError
from .figures import Finding
from .keepers import is_from, keeper_of
from .message import MAX_SENDS
from .naming import is_external
from .store import ailing

if TYPE_CHECKING:
    from celery import Celery

    from .installation import Installation
    from .store.database import Row, Transaction

#: Jobs that are counted, and of which are named.
MOST, NAMED = 1000, 5
#: Sweeps that may be missed, and seconds that they take at the least.
MISSED, PATIENCE = 6, 60.0


def diagnose(installation: Installation) -> tuple[Finding, ...]:
    """Look at everything; see ``External.diagnose``."""
    return tuple(_look(installation))


def _look(installation: Installation) -> Iterator[Finding]:
    schema_finding = None
    try:
        found = installation.read_revision()
        schema_finding = _judge_schema(installation, found)
        yield Finding("database", "ok", f"{installation.database_name} answers")
        yield schema_finding
        if schema_finding.level == "ok" and found is not None:
            with installation.database.alone() as tx:
                yield from _look_at_jobs(installation, tx)
    except (DatabaseUnavailableError, SchemaError) as exc:
        yield Finding(
            "database",
            "error",
            str(exc),
            "See that the server runs and that external_database_url is right. Until then nothing "
            "is recorded: whoever signals gets an error and has to repeat",
        )
    yield _look_at_results(installation.app)
    yield _look_at_secrets(installation)


def _judge_schema(installation: Installation, found: str | None) -> Finding:
    home = installation._unchecked  # noqa: SLF001
    if found == schema.REVISION:
        return Finding("schema", "ok", f"The tables are at {found}, as this version needs them")
    if found is None and home.makes_itself:
        return Finding("schema", "ok", "There are no tables yet; the first use makes them")
    problem = SchemaError(str(home), found, schema.REVISION, home.upgrade_command)
    return Finding("schema", "error", str(problem), f"Run: {home.upgrade_command}")


# --- Jobs -----------------------------------------------------------------------------------------


def _look_at_jobs(installation: Installation, tx: Transaction) -> Iterator[Finding]:
    namespace, settings = installation.namespace, installation.settings
    patience = max(MISSED * settings.sweep_interval, PATIENCE)
    rows = ailing.find_unswept(tx, namespace, patience, MOST)
    yield _finding(
        "sweep",
        "error",
        rows,
        f"{_number(rows)} have waited for the sweep for more than {patience:.0f} s: nobody sweeps",
        "Run celery beat, or set external_sweep_in_worker = True, or run "
        "`celery -A <your app> external sweep` by cron; and see that a worker takes the queue "
        f"{settings.sweep_queue or installation.app.conf.task_default_queue!r}",
        "The sweep does what is due",
    )
    late = 10 * settings.resume_grace
    rows = ailing.find_owed(tx, namespace, late, MOST)
    yield _finding(
        "owed",
        "warning",
        rows,
        f"{_number(rows)} have had an outcome for more than {late:.0f} s, and Celery has not "
        f"taken it. {_queues(rows)}",
        "See that workers run, take these queues, and keep up with them; external_resume_queue "
        "has resumes pass a long queue",
        "Outcomes are taken by Celery",
    )
    rows = ailing.find_stuck(tx, namespace, MAX_SENDS, MOST)
    yield _finding(
        "stuck",
        "error",
        rows,
        f"The message of {_number(rows)} was sent again more than {MAX_SENDS} times, and no "
        f"worker took it. {_queues(rows)}",
        "See that a worker takes these queues and knows the tasks. A job that is PENDING is not "
        "sent again: send it anew or cancel it",
        "No message is stuck",
    )
    rows = ailing.find_untaken(tx, namespace, settings.pending_grace, MOST)
    yield _finding(
        "pending",
        "warning",
        rows,
        f"{_number(rows)} wait for a worker for more than {settings.pending_grace:.0f} s. "
        f"{_queues(rows)}",
        "Start a worker that takes these queues, or more of them",
        "Jobs are begun in time",
    )


def _finding(  # noqa: PLR0917
    name: str, level: Any, rows: list[Row], text: str, remedy: str, well: str
) -> Finding:
    if not rows:
        return Finding(name, "ok", well)
    return Finding(name, level, text, remedy, tuple(row["id"] for row in rows[:NAMED]))


def _number(rows: list[Row]) -> str:
    if len(rows) == 1:
        return "1 job"
    return f"{len(rows):,}{' or more' if len(rows) == MOST else ''} jobs"


def _queues(rows: list[Row]) -> str:
    names = sorted({row["queue"] or "the default queue" for row in rows})
    return f"Queues: {', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''}"


# --- Settings -------------------------------------------------------------------------------------


def _look_at_results(app: Celery) -> Finding:
    backend: Any = app.backend
    tasks: list[Any] = [task for task in app.tasks.values() if is_external(task)]
    if is_from(backend, "celery.backends.rpc"):
        return Finding(
            "results",
            "warning" if tasks else "ok",
            "The rpc:// result backend answers the process that made the call: a result is lost "
            "when that process has ended before the job",
            "Use another result backend for long waits",
        )
    lifetime = limits.lifetime_of(backend)
    late = sorted(
        task.name for task in tasks if task.timeout is None or float(task.timeout) > lifetime
    )
    if not lifetime or not late:
        return Finding("results", "ok", "Results are kept for as long as jobs may wait")
    names = ", ".join(late[:NAMED]) + (", ..." if len(late) > NAMED else "")
    said = f"{names} may wait for longer than the {lifetime:.0f} s for which results are kept"
    if keeper_of(backend) is not None:
        return Finding("results", "ok", f"{said}; the sweep keeps those of their groups alive")
    return Finding(
        "results",
        "warning",
        f"{said}, and celery-external cannot renew them in {type(backend).__name__}: a chord or "
        "group with them that waits longer is lost",
        "Use Redis, a database or django-celery-results, raise result_expires, or give these "
        "tasks a timeout within it",
    )


def _look_at_secrets(installation: Installation) -> Finding:
    settings = installation.settings
    if settings.secret_keys and settings.base_url:
        return Finding("secrets", "ok", f"Links are signed, and lead to {settings.base_url}")
    if settings.secret_keys:
        return Finding("secrets", "ok", "Tokens are signed; links need external_base_url")
    remedy = "Set external_secret_keys to a list with the text that secrets.token_urlsafe() gives"
    if settings.base_url:
        said = "external_base_url is set, but external_secret_keys is not: no link can be made"
        return Finding("secrets", "error", said, remedy)
    return Finding("secrets", "ok", "No secret is set: there are no tokens and no links", remedy)
