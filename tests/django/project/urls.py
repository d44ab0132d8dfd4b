"""The shop's pages; each is one transaction (ATOMIC_REQUESTS)."""

from __future__ import annotations

from django.urls import path

from tests.django.project.shop import views

urlpatterns = [
    path("order/<name>/", views.order),
    path("approve/<name>/", views.approve),
]
