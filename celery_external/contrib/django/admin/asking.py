"""The page between a button and its effect: it asks why, shows what it is about, and does it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import quote
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from celery_external import get_external
from celery_external.acting import act
from celery_external.contrib.django.database import home_on
from celery_external.contrib.django.jobs import find_alias
from celery_external.contrib.django.models import Job
from celery_external.errors import (
    DatabaseUnavailableError,
    ExternalError,
    JobNotFoundError,
    ResultInvalidError,
    UnserializableError,
)
from celery_external.glance import glance_at
from celery_external.installation import installation_of
from celery_external.logs import name_job
from celery_external.naming import can_be_id
from celery_external.question import Question, question_of

from . import shown
from .acts import Act, Target
from .forms import ActForm, AnswerForm, form_for
from .report import Report, Stop

if TYPE_CHECKING:
    from .job import JobAdmin

logger = logging.getLogger("celery_external")

#: Jobs that one act may be for: they are decided one by one.
MAX_TARGETS = 1000
_ATTEMPT = re.compile("[0-9]{1,9}")
#: What another answer may cure.
_CURABLE = (ResultInvalidError, UnserializableError)


def targets_of(queryset: QuerySet) -> tuple[Target, ...]:
    """What was selected, each job by the attempt that is on."""
    rows = queryset.values_list("pk", "attempt")[: MAX_TARGETS + 1]
    return tuple(Target(*row) for row in rows)


def target_in(query: Any) -> tuple[Target, ...]:
    """The one job that a link of ours is about, by the attempt that it was shown with."""
    job_id, attempt = query.get("job", ""), query.get("attempt", "")
    if not (can_be_id(job_id) and _ATTEMPT.fullmatch(attempt)):
        return ()
    return (Target(job_id, int(attempt)),)


class ActPage:
    """One act, for some jobs, asked about or done by one request."""

    def __init__(
        self, model_admin: JobAdmin, request: HttpRequest, act: Act, targets: Sequence[Target]
    ) -> None:
        self.model_admin = model_admin
        self.request = request
        self.act = act
        self.targets = tuple(targets)
        self.question: Question | None = None

    # --- What is called ---

    def ask(self) -> HttpResponse:
        """The page, or back to where somebody came from, with what is wrong."""
        if not self._can_be_done():
            return self._back()
        return self._show(*self._forms(None))

    def do(self) -> HttpResponse:
        """Do it, or show the page again with what is wrong with it."""
        if not self._can_be_done():
            return self._back()
        form, answer = self._forms(self.request.POST)
        is_valid = [one.is_valid() for one in (form, answer) if one is not None]
        if not all(is_valid):
            return self._show(form, answer)
        said = {**form.said, **(answer.cleaned_data if answer else {})}
        try:
            self._do_all(said)
        except _CURABLE as exc:
            form.add_error(None, str(exc))
            return self._show(form, answer)
        return self._back()

    # --- Whether it can be done ---

    def _can_be_done(self) -> bool:
        """Look at the jobs; what cannot be done is told, and not done."""
        if not self.targets:
            self._tell(messages.ERROR, "There was no job to be found in what was sent.")
        if len(self.targets) > MAX_TARGETS:
            text = f"Select at most {MAX_TARGETS:,} jobs; nothing was done."
            self._tell(messages.ERROR, text)
            self.targets = ()
        self.targets = tuple(target for target in self.targets if self._is_there(target))
        if self.act.asks == "answer":
            self.targets = tuple(target for target in self.targets if self._can_be_asked(target))
        return bool(self.targets)

    @cached_property
    def rows(self) -> Mapping[str, Job]:
        """The jobs as they stand, by their ids."""
        ids = [target.job_id for target in self.targets]
        found = self.model_admin.get_queryset(self.request).filter(pk__in=ids)
        return {row.pk: row for row in found}

    def _is_there(self, target: Target) -> bool:
        row = self.rows.get(target.job_id)
        if row is None:
            self._tell(messages.ERROR, f"There is no job {target.job_id} any more.")
        elif row.attempt != target.attempt and self.request.method != "POST":
            # Whoever posts is refused by the signal itself, and the history has it.
            text = f"{row} is at attempt {row.attempt} by now: please look at it again."
            self._tell(messages.WARNING, text)
            return False
        return row is not None

    def _can_be_asked(self, target: Target) -> bool:
        """Whether the answer to what the job's task asks can be given here."""
        row = self.rows[target.job_id]
        task = _find_task(row)
        if task is None:
            text = f"{row} was not approved: this process does not know what its task asks."
            self._tell(messages.ERROR, text)
            return False
        question = question_of(task)
        if question is not None and len(self.targets) > 1:
            text = f"{row} was left out: its task asks a question. Approve it from its own page."
            self._tell(messages.WARNING, text)
            return False
        self.question = question
        return True

    # --- The page ---

    def _forms(self, data: Any) -> tuple[ActForm, AnswerForm | None]:
        form = form_for(self.act, has_question=self.question is not None)
        answer = None if self.question is None else AnswerForm(self.question, data)
        return form(self.act, data, initial={"targets": self.targets}), answer

    def _show(self, form: ActForm, answer: AnswerForm | None) -> HttpResponse:
        rows = [self.rows[target.job_id] for target in self.targets]
        request, model_admin = self.request, self.model_admin
        request.current_app = model_admin.admin_site.name
        context = {
            **model_admin.admin_site.each_context(request),
            "title": f"{self.act.title} {self._what}",
            "opts": model_admin.opts,
            "media": model_admin.media + form.media,
            "preserved_filters": model_admin.get_preserved_filters(request),
            "act": self.act,
            "url": model_admin.act_url(self.act),
            "rows": rows,
            "forms": [one for one in (answer, form) if one is not None],
            "choices": self.question.choices if self.question else (),
            **(self._details(rows[0]) if len(rows) == 1 else {}),
        }
        return TemplateResponse(request, "admin/celery_external/job/act.html", context)

    @property
    def _what(self) -> str:
        number = len(self.targets)
        return "a job" if number == 1 else f"{number:,} jobs"

    def _details(self, row: Job) -> dict[str, Any]:
        try:
            job = glance_at(installation_of(), row.pk, using=find_alias()).job
        except JobNotFoundError:  # purged in between; the act will say so
            return {}
        return {
            "arguments": shown.show_text(f"{job.argsrepr or ''} {job.kwargsrepr or ''}".strip()),
            "meta": shown.show_json(dict(job.meta) or None),
        }

    # --- The act ---

    def _do_all(self, said: Mapping[str, Any]) -> None:
        """One transaction a job, or one for all under ATOMIC_REQUESTS."""
        alias = find_alias() or DEFAULT_DB_ALIAS
        is_within = connections[alias].in_atomic_block
        report = Report(self.act)
        for place, target in enumerate(self.targets):
            word = ""
            try:
                # Django's own errors as well, at BEGIN and COMMIT: what was done before counts.
                with home_on(alias).guarded(), transaction.atomic(using=alias):
                    word = self._do(target, said, alias, report.refused)
            except DatabaseUnavailableError as exc:
                if is_within:
                    raise
                logger.exception(
                    "Job %s: the admin could not %s it",
                    target.job_id,
                    self.act.name,
                    extra=name_job(target.job_id),
                )
                # Each of the others would wait for the database as long again.
                left = self.targets[place + 1 :]
                report.stop = Stop(exc, target, is_unsure=word == "applied", left=left)
                break
            report.count(target, word)
        for level, text in report.tell():
            self._tell(level, text)

    def _do(
        self,
        target: Target,
        said: Mapping[str, Any],
        alias: str,
        refused: list[ExternalError],
    ) -> str:
        """What became of it: applied, duplicate or refused."""
        try:
            outcome = act(
                get_external(),
                self.act.name,
                target.job_id,
                target.attempt,
                by=self.request.user.get_username(),
                reason=said["reason"] or None,
                result=said["result"],
                timeout=said["timeout"],
                deadline=said["deadline"],
                using=alias,
            )
        except DatabaseUnavailableError:
            raise
        except ExternalError as exc:
            if len(self.targets) == 1 and isinstance(exc, _CURABLE):
                raise
            logger.info(
                "Job %s: the admin could not %s it: %s",
                target.job_id,
                self.act.name,
                exc,
                extra=name_job(target.job_id),
            )
            # What the refusal has written to the history stays.
            refused.append(exc)
            return "refused"
        status = getattr(outcome, "status", "applied")
        if status == "applied":
            self._log(target, said)
        return status

    def _log(self, target: Target, said: Mapping[str, Any]) -> None:
        reason = f" Reason: {said['reason']}" if said["reason"] else ""
        text = f"{self.act.done.capitalize()} (attempt {target.attempt}).{reason}"
        self.model_admin.log_change(self.request, self.rows[target.job_id], text)

    # --- What is told ---

    def _tell(self, level: int, text: str) -> None:
        self.model_admin.message_user(self.request, text, level)

    def _back(self) -> HttpResponseRedirect:
        """To the job's page, if it was about one; to the list otherwise."""
        model_admin, opts = self.model_admin, self.model_admin.opts
        view, args = "changelist", []
        if len(self.rows) == 1 and not self._is_from_list:
            view, args = "change", [quote(next(iter(self.rows)))]
        name = f"admin:{opts.app_label}_{opts.model_name}_{view}"
        url = reverse(name, args=args, current_app=model_admin.admin_site.name)
        filters = model_admin.get_preserved_filters(self.request)
        return HttpResponseRedirect(
            add_preserved_filters({"preserved_filters": filters, "opts": opts}, url)
        )

    @property
    def _is_from_list(self) -> bool:
        """Whether somebody has selected jobs in the list, which has no such page of ours."""
        match = self.request.resolver_match
        return match is not None and str(match.url_name).endswith("_changelist")


def _find_task(row: Job) -> Any:
    app = get_external().app
    if row.task not in app.tasks:
        try:
            # Who only looks at jobs need not have imported what they are of.
            app.loader.import_default_modules()
        except Exception:
            logger.exception(
                "Job %s: the tasks of this project cannot be imported",
                row.pk,
                extra=name_job(row.pk, row.task),
            )
    return app.tasks.get(row.task)
