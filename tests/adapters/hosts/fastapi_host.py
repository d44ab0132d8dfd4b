"""The app of docs/fastapi.md, with a login."""

from __future__ import annotations

import importlib
import os

from fastapi import FastAPI, Request

from celery_external.contrib.fastapi import router
from tests.adapters.hosts.away import make_receiver

app: FastAPI = importlib.import_module("web").web
app.include_router(router(make_receiver(os.environ["AWAY_URL"])), prefix="/away")


@app.get("/login/{name}")
def login(name: str, request: Request) -> str:
    """Log somebody in."""
    request.session["user"] = name
    return name
