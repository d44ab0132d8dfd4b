"""The admin's list: only what indexes serve, and never a count of all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils.functional import cached_property

from celery_external import states
from celery_external.contrib.django.columns import Unsettled
from celery_external.installation import installation_of
from celery_external.naming import can_be_id, external_tasks

#: Jobs that can be leafed through; older ones are found by filters and by the search.
MAX_LISTED = 10_000
#: The newest jobs, whose tasks the filter offers.
MAX_SAMPLE = 1000


class BoundedPaginator(Paginator):  # type: ignore[misc]  # Django has no types
    """Counts no further than ``MAX_LISTED``."""

    @cached_property  # type: ignore[untyped-decorator]
    def count(self) -> int:
        """How many jobs there are, or ``MAX_LISTED`` of more."""
        number: int = self.object_list.order_by()[:MAX_LISTED].count()
        return number


class JobList(ChangeList):  # type: ignore[misc]
    """In an order that has an index, with the columns that the list shows."""

    def get_ordering(self, request: Any, queryset: QuerySet) -> list[str]:
        """One time, and the id in the same direction, as the indexes have them."""
        asked = super().get_ordering(request, queryset)
        first = asked[0] if asked[0].lstrip("-") in self.sortable_by else "-created_at"
        return [first, "-pk" if first.startswith("-") else "pk"]

    def get_queryset(self, request: Any, exclude_parameters: Any = None) -> QuerySet:
        """What is listed; a job without the time that it is ordered by is not in the list."""
        found = super().get_queryset(request, exclude_parameters)
        column = found.query.order_by[0].lstrip("-")
        if column != "created_at":
            found = found.filter(**{f"{column}__isnull": False})
        return found.defer("reason", "queue", "parent_id", "group_id", "sends")

    @property
    def is_cut(self) -> bool:
        """Whether there are more jobs than can be leafed through."""
        return bool(self.result_count >= MAX_LISTED)


class StateFilter(admin.SimpleListFilter):  # type: ignore[misc]
    """By state, of which there are seven."""

    title = "state"
    parameter_name = "state"

    def lookups(self, _request: Any, _model_admin: Any) -> list[tuple[str, str]]:
        """All states, in the order of a job's life."""
        return [(state, state) for state in states.IN_ORDER]

    def queryset(self, _request: Any, queryset: QuerySet) -> QuerySet:
        """The jobs in that state."""
        state = self.value()
        if state is None:
            return queryset
        if state not in states.ALL_STATES:
            return queryset.none()
        # An open one is looked up in the index of those that wait.
        waits = [Unsettled()] if state in states.OPEN_STATES else []
        return queryset.filter(*waits, state=state)


class TaskFilter(admin.SimpleListFilter):  # type: ignore[misc]
    """By task: those that this process knows, and those of the newest jobs."""

    title = "task"
    parameter_name = "task"

    def lookups(self, _request: Any, model_admin: Any) -> list[tuple[str, str]]:
        """Their names."""
        jobs = model_admin.model.objects.order_by("-created_at", "-pk")
        recent: Iterable[str] = jobs.values_list("task", flat=True)[:MAX_SAMPLE]
        known = external_tasks(installation_of().app)
        return [(name, name) for name in sorted({*recent, *known})]

    def queryset(self, _request: Any, queryset: QuerySet) -> QuerySet:
        """The task's jobs."""
        task = self.value()
        if task is None:
            return queryset
        # No database is asked for what it cannot keep.
        return queryset.filter(task=task) if can_be_id(task) else queryset.none()


_PROGRESS: dict[str, tuple[str, Q]] = {
    "open": ("Open", Q(Unsettled(), kind__isnull=True)),
    "overdue": ("Overdue", Q(wake_at__lte=Now())),
    "owed": ("Owed to Celery", Q(Unsettled(), state__in=sorted(states.TERMINAL_STATES))),
    "stuck": (
        "Stuck",
        Q(Unsettled(), sends__gt=states.MAX_SENDS, state__in=sorted(states.TAKES_MESSAGE)),
    ),
    "settled": ("Settled", Q(kind__isnull=False, wake_at__isnull=True)),
}


class ProgressFilter(admin.SimpleListFilter):  # type: ignore[misc]
    """By what is still to come of a job; the words are those of ``find_jobs``."""

    title = "progress"
    parameter_name = "progress"

    def lookups(self, _request: Any, _model_admin: Any) -> list[tuple[str, str]]:
        """What there is."""
        return [(name, title) for name, (title, _) in _PROGRESS.items()]

    def queryset(self, _request: Any, queryset: QuerySet) -> QuerySet:
        """The jobs that are so."""
        found = _PROGRESS.get(self.value() or "")
        return queryset.filter(found[1]) if found else queryset


def search(queryset: QuerySet, term: str) -> QuerySet:
    """Jobs whose id, reference, canvas or label is exactly this; each has an index."""
    if not term:
        return queryset
    return queryset.filter(Q(pk=term) | Q(root_id=term) | Q(reference=term) | Q(labels__has=term))
