"""The newsroom's pages."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from celery_external.contrib.django.urls import receiver_urls
from celery_external.webhooks import Receiver

from .articles import views
from .celeryapp import app

urlpatterns = [
    path("", views.articles, name="articles"),
    path("reviews/", views.reviews, name="reviews"),
    path("reviews/<uuid:job_id>/", views.decide, name="decide"),
    path("external/", receiver_urls(Receiver(app), user=views.reviewer)),
    path("login/", LoginView.as_view(template_name="articles/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
