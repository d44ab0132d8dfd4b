"""The app of the page's Flask section, with a login, and Flask-WTF which came after it."""

from __future__ import annotations

import importlib

from flask import Flask, session
from flask_wtf import CSRFProtect


def login(name: str) -> str:
    """Log somebody in."""
    session["user"] = name
    return name


app: Flask = importlib.import_module("flask_web").create_app()
app.get("/login/<name>")(login)
CSRFProtect(app)
