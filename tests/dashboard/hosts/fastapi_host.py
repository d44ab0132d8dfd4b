"""The app of the page's FastAPI section, with a login."""

from __future__ import annotations

import importlib

from fastapi import FastAPI, Request

app: FastAPI = importlib.import_module("fastapi_web").web


@app.get("/login/{name}")
def login(name: str, request: Request) -> str:
    """Log somebody in."""
    request.session["user"] = name
    return name
