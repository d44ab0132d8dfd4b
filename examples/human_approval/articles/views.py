"""The newsroom's pages: articles are ordered, and drafts decided about."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import chain
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from celery_external import (
    Job,
    JobAlreadyCompletedError,
    JobNotFoundError,
    OptionError,
    StaleAttemptError,
    find_jobs,
    get_job,
    signal_succeeded,
)

from .forms import DecisionForm, OrderForm
from .models import Article
from .tasks import conclude, review

MAY_ORDER = "articles.add_article"
MAY_DECIDE = "articles.decide_article"


@require_http_methods(["GET", "POST"])  # type: ignore[untyped-decorator]
def articles(request: Any) -> HttpResponse:
    """See what became of the articles, and, if you may, order another."""
    if request.method == "POST" and not request.user.has_perm(MAY_ORDER):
        raise PermissionDenied
    form = OrderForm(request.POST or None)
    if form.is_valid():
        form.instance.ordered_by = request.user
        order(form.save(commit=False), is_urgent=form.cleaned_data["urgent"])
        return redirect("articles")
    shown = {"form": form, "articles": Article.objects.order_by("-pk")[:50]}
    return render(request, "articles/articles.html", shown, status=422 if form.errors else 200)


def order(article: Article, *, is_urgent: bool = False) -> None:
    """Save the article and start its review: both are committed, or neither is."""
    with transaction.atomic():
        article.save()
        options: dict[str, Any] = {"labels": [article.section], "meta": {"article": article.pk}}
        if is_urgent:
            options["timeout"] = settings.URGENT_REVIEW_SECONDS
        step = review.s(article.title).set(**options)
        chain(step, conclude.s(article.pk)).apply_async(using="default")


@require_GET  # type: ignore[untyped-decorator]
@permission_required(MAY_DECIDE, raise_exception=True)  # type: ignore[untyped-decorator]
def reviews(request: Any) -> HttpResponse:
    """The drafts that wait, the newest first; ``?label=`` says of which section."""
    label = request.GET.get("label")
    try:
        page = find_jobs(
            state="PARKED",
            task=review.name,
            labels=[label] if label else None,
            order="-parked",
            limit=20,
            after=request.GET.get("after"),
        )
    except OptionError as exc:
        raise BadRequest(str(exc)) from exc
    return render(request, "articles/reviews.html", {"page": page, "label": label})


@require_POST  # type: ignore[untyped-decorator]
@permission_required(MAY_DECIDE, raise_exception=True)  # type: ignore[untyped-decorator]
def decide(request: Any, job_id: UUID) -> HttpResponse:
    """Approve or decline a draft: the article and the job are changed in one transaction."""
    form = DecisionForm(request.POST)
    if not form.is_valid():
        raise BadRequest(form.errors.as_json())
    said, by = form.cleaned_data, request.user.get_username()
    attempt = said.pop("attempt")
    with transaction.atomic():
        job = find_review(job_id)
        try:
            receipt = signal_succeeded(job, said, attempt=attempt, by=by, using="default")
        except (JobAlreadyCompletedError, StaleAttemptError):
            messages.warning(request, "Too late: it had been decided, and nothing was changed.")
            return redirect("reviews")
        if receipt.status == "applied":  # the first to say so, not the second
            article = Article.objects.get(pk=job.meta["article"])
            article.decide(said, job.meta["content"], by)
    return redirect("reviews")


def find_review(job_id: UUID) -> Job:
    """The review of this id, and no job of another task."""
    try:
        job = get_job(job_id)
    except JobNotFoundError as exc:
        raise Http404 from exc
    if job.task != review.name:
        raise Http404
    return job


def reviewer(request: Any) -> str:
    """Who decides on the page of a mailed link, which must be somebody who may."""
    if not request.user.has_perm(MAY_DECIDE):
        raise PermissionDenied
    return str(request.user.get_username())
