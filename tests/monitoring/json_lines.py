"""A JSON formatter as users of structured logs have one: the words, and all the fields beside."""

from __future__ import annotations

import json
import logging

#: What every record has.
_USUAL = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """One line of JSON a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record."""
        fields = {name: value for name, value in vars(record).items() if name not in _USUAL}
        said = {"logger": record.name, "level": record.levelname, "message": record.getMessage()}
        return json.dumps({**said, **fields}, default=repr)
