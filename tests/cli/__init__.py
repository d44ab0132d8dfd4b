"""``celery -A proj external …``: the real executable, as a shell sees it."""
