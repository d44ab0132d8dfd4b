"""The admin of jobs: to look at everything, and to change nothing but by an act."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode

from celery_external.contrib.django.jobs import find_alias
from celery_external.contrib.django.models import Job
from celery_external.errors import JobNotFoundError
from celery_external.glance import glance_at
from celery_external.installation import installation_of
from celery_external.naming import can_be_id

from . import shown
from .acts import ACTS, Act
from .asking import ActPage, target_in, targets_of
from .forms import read_targets
from .listing import (
    BoundedPaginator,
    JobList,
    ProgressFilter,
    StateFilter,
    TaskFilter,
    search,
)


class JobAdmin(admin.ModelAdmin):  # type: ignore[misc]  # Django has no types
    """Jobs: a list, each job with its history, and what may be done to it.

    Whoever has ``celery_external.view_job`` sees; ``decide_job``, ``cancel_job``, ``rerun_job``
    and ``extend_job`` beside it allow the acts. Nothing can be added, edited or deleted.
    """

    list_display: tuple[Any, ...] = (
        "name", "shadow", "state_and_rest", "label_list", "parked_at", "deadline", "reference",
        "attempt", "completed_by", "created_at", "completed_at",
    )  # fmt: skip
    list_filter: tuple[Any, ...] = (StateFilter, TaskFilter, ProgressFilter)
    sortable_by = ("created_at", "parked_at", "completed_at")
    ordering = ("-created_at", "-pk")
    search_fields = ("id", "reference", "root_id", "labels")
    search_help_text = "The whole of an id, a reference, a canvas (root id) or a label."
    list_per_page = 50
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ("approve_jobs", "decline_jobs", "cancel_jobs", "rerun_jobs", "extend_jobs")
    change_list_template = "admin/celery_external/job/change_list.html"
    change_form_template = "admin/celery_external/job/change_form.html"

    fieldsets = (
        (None, {"fields": ("id", "name", "shadow", "state_and_rest", "attempt", "label_list",
                           "reference")}),
        ("Wait", {"fields": ("created_at", "started_at", "parked_at", "deadline", "progress")}),
        ("Request", {"fields": ("positional", "keywords", "meta", "trigger_result")}),
        ("Outcome", {"fields": ("kind", "completed_at", "completed_by", "why", "result")}),
        ("Canvas", {"fields": ("root", "parent_id", "group_id", "queue", "sends")}),
        ("History of the job", {"fields": ("history_lines",)}),
    )  # fmt: skip
    readonly_fields = tuple(name for _, part in fieldsets for name in part["fields"])

    # --- Rights ---

    def has_view_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        """Whether somebody may look; nobody, where Django does not reach the jobs."""
        return bool(super().has_view_permission(request, obj)) and find_alias() is not None

    def has_add_permission(self, _request: HttpRequest, *_others: Any) -> bool:
        """Never: a job begins as a call of its task."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Job | None = None) -> bool:
        """Never: a job is changed by acts alone."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Job | None = None) -> bool:
        """Never: the sweep removes what is settled, when its time has come."""
        return False

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may approve and decline."""
        return self._has(request, "decide")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may cancel."""
        return self._has(request, "cancel")

    def has_rerun_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may have the trigger run again."""
        return self._has(request, "rerun")

    def has_extend_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may move deadlines."""
        return self._has(request, "extend")

    def _has(self, request: HttpRequest, right: str) -> bool:
        is_allowed = request.user.has_perm(f"{self.opts.app_label}.{right}_job")
        return bool(is_allowed) and self.has_view_permission(request)

    def may(self, request: HttpRequest, act: Act) -> bool:
        """Whether somebody may do this."""
        return bool(getattr(self, f"has_{act.right}_permission")(request))

    # --- The list ---

    def get_changelist(self, _request: HttpRequest, **_options: Any) -> type[JobList]:
        """Ours."""
        return JobList

    def get_search_results(
        self, _request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        """Jobs that are exactly what was typed, or have it for a reference, canvas or label."""
        return search(queryset, search_term.strip()), False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Only what a filter of the list is for: nothing else that a URL asks for has an index."""
        filters = self.get_list_filter(request)
        names = {getattr(one, "parameter_name", None) for one in filters}
        columns = {one[0] if isinstance(one, (tuple, list)) else one for one in filters}
        is_of_column = lookup.partition("__")[0] in columns
        return lookup in names or (is_of_column and super().lookup_allowed(lookup, value, request))

    @admin.action(permissions=["decide"], description="Approve selected jobs")  # type: ignore[untyped-decorator]
    def approve_jobs(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """Ask for all that was selected."""
        return self._ask(request, queryset, "approve")

    @admin.action(permissions=["decide"], description="Decline selected jobs")  # type: ignore[untyped-decorator]
    def decline_jobs(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """Ask for all that was selected."""
        return self._ask(request, queryset, "decline")

    @admin.action(permissions=["cancel"], description="Cancel selected jobs")  # type: ignore[untyped-decorator]
    def cancel_jobs(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """Ask for all that was selected."""
        return self._ask(request, queryset, "cancel")

    @admin.action(permissions=["rerun"], description="Rerun selected jobs")  # type: ignore[untyped-decorator]
    def rerun_jobs(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """Ask for all that was selected."""
        return self._ask(request, queryset, "rerun")

    @admin.action(permissions=["extend"], description="Extend selected jobs")  # type: ignore[untyped-decorator]
    def extend_jobs(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """Ask for all that was selected."""
        return self._ask(request, queryset, "extend")

    def _ask(self, request: HttpRequest, queryset: QuerySet, name: str) -> HttpResponse | None:
        return ActPage(self, request, ACTS[name], targets_of(queryset)).ask()

    # --- One job ---

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """The row, and the job that is behind it, with the end of its history."""
        if not can_be_id(object_id):
            return None
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            try:
                row.seen = glance_at(installation_of(), row.pk, using=find_alias())
            except JobNotFoundError:  # purged in between
                return None
        return row

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        """With the acts that come into question."""
        row = context["original"]
        acts = [
            {"title": act.title, "url": self.act_url(act, row)}
            for act in ACTS.values()
            if row.state in act.states and self.may(request, act)
        ]
        # The buttons stand where the subtitle would.
        context = {**context, "acts": acts, "subtitle": None}
        return super().render_change_form(request, context, *args, **options)

    def act_url(self, act: Act, row: Job | None = None) -> str:
        """Where an act is done; with a row: where it is asked about for that attempt of it."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_act"
        where: str = reverse(name, args=[act.name], current_app=self.admin_site.name)
        if row is None:
            return where
        return f"{where}?{urlencode({'job': row.pk, 'attempt': row.attempt})}"

    # --- The page of an act ---

    def get_urls(self) -> list[Any]:
        """The admin's, and that of the acts."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_act"
        view = self.admin_site.admin_view(self.act_view)
        return [path("act/<slug:name>/", view, name=name), *super().get_urls()]

    def act_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Ask (GET), or do (POST).

        Raises:
            Http404: There is no such act.
            PermissionDenied: Somebody may not.
        """
        act = ACTS.get(name)
        if act is None:
            raise Http404
        if not self.may(request, act):
            raise PermissionDenied
        if request.method == "POST":
            return ActPage(self, request, act, read_targets(request.POST)).do()
        return ActPage(self, request, act, target_in(request.GET)).ask()

    # --- Columns and fields ---

    @admin.display(description="task")  # type: ignore[untyped-decorator]
    def name(self, row: Job) -> str:
        """The task's name."""
        return str(row.task)

    @admin.display(description="state")  # type: ignore[untyped-decorator]
    def state_and_rest(self, row: Job) -> str:
        """The state, and whether Celery still has to be told."""
        is_owed = row.kind is not None and not row.settled
        return f"{row.state}, owed to Celery" if is_owed else str(row.state)

    @admin.display(description="labels")  # type: ignore[untyped-decorator]
    def label_list(self, row: Job) -> str:
        """All labels."""
        return ", ".join(row.labels)

    @admin.display(description="args")  # type: ignore[untyped-decorator]
    def positional(self, row: Job) -> str:
        """The positional arguments, as Celery shows them to people."""
        return shown.show_text(row.seen.job.argsrepr)

    @admin.display(description="kwargs")  # type: ignore[untyped-decorator]
    def keywords(self, row: Job) -> str:
        """The keyword arguments, likewise."""
        return shown.show_text(row.seen.job.kwargsrepr)

    def meta(self, row: Job) -> str:
        """What the job's task shows of it."""
        return shown.show_json(dict(row.seen.job.meta) or None)

    @admin.display(description="result of the trigger")  # type: ignore[untyped-decorator]
    def trigger_result(self, row: Job) -> str:
        """What the trigger returned."""
        return shown.show_json(row.seen.job.trigger_result)

    def progress(self, row: Job) -> str:
        """How far the work is."""
        return shown.show_progress(row.seen.job.progress)

    @admin.display(description="reason")  # type: ignore[untyped-decorator]
    def why(self, row: Job) -> str:
        """Why it ended so."""
        return shown.show_text(row.reason)

    def result(self, row: Job) -> str:
        """What the job's task returns."""
        return shown.show_json(row.seen.job.result)

    def root(self, row: Job) -> str:
        """The canvas, with a link to its jobs."""
        if not row.root_id:
            return shown.NOTHING
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"
        where = reverse(name, current_app=self.admin_site.name)
        url = f"{where}?{urlencode({'q': row.root_id})}"
        return str(format_html('<a href="{}">{}</a>', url, row.root_id))

    @admin.display(description="events")  # type: ignore[untyped-decorator]
    def history_lines(self, row: Job) -> str:
        """What became of the job so far: when, by whom and why."""
        return str(shown.show_history(row.seen))
