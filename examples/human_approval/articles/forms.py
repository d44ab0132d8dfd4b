"""What is typed into the newsroom's pages."""

from __future__ import annotations

from django import forms

from .models import Article
from .tasks import CHOICES


class OrderForm(forms.ModelForm):  # type: ignore[misc]  # Django has no types
    """An article is wanted."""

    urgent = forms.BooleanField(required=False)

    class Meta:
        """What of the article its author says."""

        model = Article
        fields = ("title", "section")


class DecisionForm(forms.Form):  # type: ignore[misc]
    """A draft is approved or declined; ``attempt`` says which draft was on the page."""

    choice = forms.ChoiceField(choices=[(choice, choice.capitalize()) for choice in CHOICES])
    remark = forms.CharField(required=False, max_length=1000)
    attempt = forms.IntegerField(min_value=1, widget=forms.HiddenInput)
