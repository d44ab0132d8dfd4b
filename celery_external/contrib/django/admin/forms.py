"""The forms that ask before anything happens: why, until when, and what the job's task asks."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.utils import timezone

from celery_external import strict_json
from celery_external.checks import MAX_SECONDS
from celery_external.inputs import Input
from celery_external.naming import can_be_id
from celery_external.question import AnswerError, Question
from celery_external.webhooks.outcomes import MAX_REASON_LENGTH

from .acts import Act, Target

#: A question's own inputs are named without it.
PREFIX = "celery-external"
MAX_HOURS = int(MAX_SECONDS // 3600)


class TargetsField(forms.Field):  # type: ignore[misc]  # Django has no types
    """The jobs, each with the attempt that was shown: one field, however many they are."""

    widget = forms.HiddenInput

    def to_python(self, value: Any) -> tuple[Target, ...]:
        """Read them back.

        Raises:
            ValidationError: They were not written by :meth:`prepare_value`.
        """
        try:
            return tuple(_target(*pair) for pair in strict_json.load(value))
        except (TypeError, ValueError) as exc:
            raise forms.ValidationError("No jobs were sent.") from exc

    def prepare_value(self, value: Any) -> str:
        """Write them down."""
        if isinstance(value, str):
            return value
        return json.dumps([(target.job_id, target.attempt) for target in value])


def _target(job_id: str, attempt: int) -> Target:
    if not (can_be_id(job_id) and type(attempt) is int):
        raise ValueError(job_id)
    return Target(job_id, attempt)


class ActForm(forms.Form):  # type: ignore[misc]
    """Which jobs, and why."""

    targets = TargetsField()
    reason = forms.CharField(
        max_length=MAX_REASON_LENGTH,
        required=False,
        widget=AdminTextareaWidget(attrs={"rows": 3}),
        help_text="For the history.",
    )

    def __init__(self, act: Act, data: Any = None, **options: Any) -> None:
        super().__init__(data, prefix=PREFIX, label_suffix="", **options)
        if act.needs_reason:
            self.fields["reason"].required = True
            self.fields["reason"].help_text = "The job's task fails with it."

    @property
    def said(self) -> dict[str, Any]:
        """What an act is told."""
        return {"result": None, "timeout": None, "deadline": None, **self.cleaned_data}


class ApproveForm(ActForm):
    """And with which result, where the task asks nothing."""

    result = forms.CharField(
        required=False,
        widget=AdminTextareaWidget(attrs={"rows": 3}),
        help_text="In JSON: what the job's task returns. Empty: nothing.",
    )

    def clean_result(self) -> Any:
        """JSON, where something was typed.

        Raises:
            ValidationError: It is none.
        """
        text = self.cleaned_data["result"].strip()
        try:
            return strict_json.load(text) if text else None
        except ValueError as exc:
            raise forms.ValidationError(f"This is not JSON: {exc}") from exc


class ExtendForm(ActForm):
    """And until when."""

    hours = forms.FloatField(
        required=False, min_value=0.001, max_value=MAX_HOURS, help_text="From now on."
    )
    until = forms.DateTimeField(
        required=False,
        widget=forms.DateTimeInput(
            attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S"
        ),
        help_text="In place of the hours.",
    )

    def clean(self) -> dict[str, Any]:
        """One of the two.

        Raises:
            ValidationError: None, or both.
        """
        said: dict[str, Any] = super().clean()
        hours, until = said.get("hours"), said.get("until")
        if not self.errors and (hours is None) == (until is None):
            raise forms.ValidationError("Say either for how many hours, or until when.")
        said["timeout"] = None if hours is None else timedelta(hours=hours)
        said["deadline"] = (
            timezone.make_aware(until) if until and timezone.is_naive(until) else until
        )
        return said


class AnswerForm(forms.Form):  # type: ignore[misc]
    """What the job's task asks, in its own words; its choices are the page's buttons."""

    def __init__(self, question: Question, data: Any = None) -> None:
        super().__init__(data, label_suffix="")
        self.question = question
        for one in question.inputs:
            self.fields[one.name] = _field(one)

    def clean(self) -> dict[str, Any]:
        """The answer as :class:`Question` checks it, in place of Django's own ideas."""
        try:
            return {"result": self.question.check(self.question.read(self.data.dict()))}
        except AnswerError as exc:
            for name, problem in exc.problems.items():
                if name in self.fields:
                    self.add_error(name, problem)
                else:
                    self.add_error(None, f"{name}: {problem}" if name else problem)
            return {}


def read_targets(data: Any) -> tuple[Target, ...]:
    """The jobs that a form was shown for; none, if it was not one of ours."""
    try:
        found: tuple[Target, ...] = TargetsField().clean(data.get(f"{PREFIX}-targets"))
    except forms.ValidationError:
        return ()
    return found


def form_for(act: Act, *, has_question: bool) -> type[ActForm]:
    """The form that an act needs."""
    if act.asks == "deadline":
        return ExtendForm
    return ApproveForm if act.asks == "answer" and not has_question else ActForm


def _field(one: Input) -> forms.Field:
    """An input as a field that shows it; the question reads and checks what comes back."""
    widget = _widget(one)
    if one.required and one.kind != "checkbox":
        widget.attrs["required"] = True
    widget.attrs.update(one.attributes)
    return forms.Field(
        required=False,
        label=one.label,
        initial=one.default,
        help_text=one.description or "",
        widget=widget,
    )


def _widget(one: Input) -> forms.Widget:
    match one.kind:
        case "checkbox":
            return forms.CheckboxInput()
        case "select":
            has_none = one.nullable or one.default is None
            none = [("", "-")] if has_none and "" not in one.options else []
            return forms.Select(choices=[*none, *((text, text) for text in one.options)])
        case "long_text" | "json":
            return AdminTextareaWidget(attrs={"rows": 5})
        case "number" | "integer":
            return forms.NumberInput()
        case "date":
            return forms.DateInput(attrs={"type": "date"})
    return AdminTextInputWidget()
