"""Runs the Django project's commands and scripts in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from tests.processes import REPOSITORY

PROJECT = "tests.django.project"
MEMORY = {"BROKER_URL": "memory://", "RESULT_URL": "cache+memory://"}


@dataclass(frozen=True)
class Project:
    """The project with its servers and settings."""

    env: dict[str, str]
    conf: dict[str, Any] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """For a process of the project's."""
        return {**self.env, "CONF": json.dumps(self.conf)}

    def manage(self, *arguments: str, fails: bool = False) -> str:
        """``manage.py`` with these arguments; returns what it says."""
        return self._run(["-m", f"{PROJECT}.manage", *arguments], fails=fails)

    def celery(self, *arguments: str, fails: bool = False) -> str:
        """``celery -A project`` with these."""
        return self._run(["-m", "celery", "-A", PROJECT, *arguments], fails=fails)

    def run(self, code: str, *, fails: bool = False) -> str:
        """Python code after ``django.setup()``; returns what it prints."""
        return self._run(["-c", SETUP + code], fails=fails)

    def _run(self, arguments: list[str], *, fails: bool) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **self.environment},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout


SETUP = f"""
import django
import {PROJECT}
django.setup()
from django.db import connection, transaction
from celery_external import *
from {PROJECT}.shop.models import Order
from {PROJECT}.shop.tasks import *
"""

#: For ``conf``: what Django's admin needs.
ADMIN: dict[str, Any] = {
    "INSTALLED_APPS": [
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "celery_external.contrib.django",
        "tests.django.project.shop",
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    "ROOT_URLCONF": "tests.django.project.admin_urls",
    "STATIC_URL": "static/",
    # A slow hash keeps nobody out of a test.
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
}
