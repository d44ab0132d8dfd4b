"""What somebody may do on the dashboard: the host says so, for each request."""

from __future__ import annotations

from dataclasses import dataclass

from celery_external.errors import OptionError
from celery_external.question import AnswerError
from celery_external.webhooks.asking import check_name


@dataclass(frozen=True, slots=True)
class Access:
    """Lets somebody in. What the ``authorize`` of a :class:`Dashboard` returns.

    Attributes:
        user: Who it is, for the history: a text of 1 to 255 characters.
        may_decide: Whether they may also decide, extend, cancel and rerun jobs. Default: only
            look at them.

    Raises:
        OptionError: ``user`` is no name, or ``may_decide`` neither True nor False.
    """

    user: str
    may_decide: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, such as a method that was not called."""
        if not isinstance(self.may_decide, bool):
            raise OptionError("may_decide", f"must be True or False, not {self.may_decide!r}")
        try:
            object.__setattr__(self, "user", check_name(self.user))
        except AnswerError as exc:
            raise OptionError("user", exc.problems["by"]) from exc
