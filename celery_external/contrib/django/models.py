"""The jobs as Django sees them: to be read, by the admin, and never to be written."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.db import NotSupportedError, models

from celery_external.installation import installation_of

from .columns import Labels, Moment
from .jobs import alias_of_jobs


def _refuse() -> NoReturn:
    raise NotSupportedError(
        "Jobs are not written by Django's ORM: signal_succeeded, signal_failed, cancel_job, "
        "rerun_job and extend_job change them, and have Celery go on"
    )


def _text(name: str | None = None) -> models.TextField:
    """A column that is NULL where there is nothing."""
    return models.TextField(name, null=True)


class JobQuerySet(models.QuerySet):  # type: ignore[misc]  # Django has no types
    """Jobs; nothing of it writes."""

    def update(self, **_values: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotSupportedError: Always.
        """
        _refuse()

    def delete(self) -> NoReturn:
        """Refuse.

        Raises:
            NotSupportedError: Always.
        """
        _refuse()

    def bulk_create(self, *_objects: Any, **_options: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotSupportedError: Always.
        """
        _refuse()

    def bulk_update(self, *_objects: Any, **_options: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotSupportedError: Always.
        """
        _refuse()


class JobManager(models.Manager.from_queryset(JobQuerySet)):  # type: ignore[misc]
    """The jobs of the app's namespace, where they are."""

    def get_queryset(self) -> JobQuerySet:
        """None of them, where Django does not reach the jobs' database."""
        of = installation_of()
        alias = alias_of_jobs(of)
        found: JobQuerySet = super().get_queryset().using(alias).filter(namespace=of.namespace)
        return found if alias is not None else _none(found)

    def using(self, alias: str | None) -> JobQuerySet:
        """No jobs: ``dumpdata`` asks so, and a job without its message is no fixture."""
        found = self.get_queryset()
        return found if alias is None else _none(found)


def _none(jobs: JobQuerySet) -> JobQuerySet:
    none: JobQuerySet = jobs.none()
    return none


class Job(models.Model):  # type: ignore[misc]
    """A row of the jobs' table, without the message and the payloads of its outcome.

    ``celery_external.get_job(row.id)`` gives all that there is to a job.
    """

    #: Of the namespace, which the manager looks at: with it, this is the table's primary key.
    id = models.TextField(primary_key=True)
    namespace = models.TextField()
    task = models.TextField()
    state = models.TextField()
    attempt = models.IntegerField()
    kind = _text()
    reason = _text()
    completed_by = _text("who")
    shadow = _text()
    queue = _text()
    root_id = _text("root")
    parent_id = _text("parent")
    group_id = _text("group")
    labels = Labels()
    reference = _text()
    sends = models.IntegerField()
    wake_at = Moment(null=True)
    created_at = Moment("created")
    started_at = Moment("started", null=True)
    parked_at = Moment("parked since", null=True)
    deadline = Moment("until", null=True)
    completed_at = Moment("completed", null=True)

    objects = JobManager()

    class Meta:
        """Our own migrations make the table; of Django's, these only have the permissions."""

        managed = False
        app_label = "celery_external"
        db_table = "celery_external_job"
        base_manager_name = "objects"
        verbose_name = "job"
        default_permissions = ("view",)
        permissions: ClassVar[list[tuple[str, str]]] = [
            ("decide_job", "Can approve and decline jobs"),
            ("cancel_job", "Can cancel jobs"),
            ("rerun_job", "Can rerun jobs"),
            ("extend_job", "Can extend jobs"),
        ]

    def __str__(self) -> str:
        return f"{self.shadow or self.task} {self.id}"

    @property
    def settled(self) -> bool:
        """Whether the outcome is final and Celery has been told."""
        return self.kind is not None and self.wake_at is None

    def save_base(self, *_args: Any, **_options: Any) -> NoReturn:
        """Refuse, what fixtures load as well.

        Raises:
            NotSupportedError: Always.
        """
        _refuse()

    def delete(self, *_args: Any, **_options: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotSupportedError: Always.
        """
        _refuse()
