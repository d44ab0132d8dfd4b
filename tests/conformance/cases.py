"""The canvases: each a function that builds one, with the tasks of a kind in the external places.

The docstring of a case is its row in the table. ``signals`` names the parked jobs in the order in
which the test signals them, once for each attempt; ``ends`` names whatever is to have ended before
the canvas is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from celery import Celery, chain, chord, group

from tests.conformance.facts import ORDINARY

#: A signature: celery-types knows only some of what ``set`` takes.
Canvas: TypeAlias = Any
Build = Callable[["Steps"], Canvas]


class Steps:
    """Makes the signatures of one canvas."""

    def __init__(self, app: Celery, run: str, kind: str) -> None:
        self._app = app
        self._run = run
        self._kind = kind

    def place(self, name: str, *args: Any, role: str = "step", **kwargs: Any) -> Canvas:
        """A place where the external task stands, or an ordinary one."""
        return self._sign(f"{self._kind}.{role}", name, *args, **kwargs)

    def plain(self, name: str, *args: Any, **kwargs: Any) -> Canvas:
        """An ordinary task in either."""
        return self._sign(f"{ORDINARY}.step", name, *args, **kwargs)

    def errback(self, name: str) -> Canvas:
        """A link_error that takes request, exception and traceback."""
        return self._sign("errback", name)

    def old_errback(self, name: str) -> Canvas:
        """A link_error that takes the task id."""
        return self._sign("old_errback", name)

    def _sign(self, task: str, name: str, *args: Any, **kwargs: Any) -> Canvas:
        return self._app.signature(task, args, {"run": self._run, "name": name, **kwargs})


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    Attributes:
        name: For test ids and files.
        title: For the table.
        build: Makes the canvas.
        signals: Names of the jobs in the order of their signals.
        ends: Names of the tasks and errbacks that are to end.
        needs_chords: Cannot run on a result backend without chords.
        is_sequential: No two of its tasks can ever run at a time.
        keeps_result: The canvas has a result to wait for.
        is_replaced: A task of it replaces itself.
        is_sent_by_name: By an app that knows none of the tasks.
        loses_children: What its external's trigger starts is no child of the result.
        header_errbacks: ``task_allow_error_cb_on_chord_header``.
    """

    name: str
    title: str
    build: Build
    signals: tuple[str, ...]
    ends: frozenset[str]
    needs_chords: bool = False
    is_sequential: bool = False
    keeps_result: bool = True
    is_replaced: bool = False
    is_sent_by_name: bool = False
    loses_children: bool = False
    header_errbacks: bool = False

    def __str__(self) -> str:
        return self.name


CASES: list[Case] = []

FAILS = {"fails": "declined"}
RAISES = {"raises": "no such colour"}


def case(signals: str, ends: str, **options: Any) -> Callable[[Build], Build]:
    """Decorator: add the case that a function builds."""

    def add(build: Build) -> Build:
        assert build.__doc__ is not None
        CASES.append(
            Case(
                name=build.__name__.strip("_").replace("_", "-"),
                title=build.__doc__.removesuffix("."),
                build=build,
                signals=tuple(signals.split()),
                ends=frozenset(ends.split()),
                **options,
            )
        )
        return build

    return add


# --- One task -------------------------------------------------------------------------------------


@case("a", "a", is_sequential=True)
def alone(steps: Steps) -> Canvas:
    """One task: `on_success`, `after_return`, `task_success`."""
    return steps.place("a", 1)


@case("a", "a", is_sequential=True)
def alone_failing(steps: Steps) -> Canvas:
    """One task failing with a text: `on_failure`, `after_return`, `task_failure`."""
    return steps.place("a", does=FAILS)


@case("a", "a", is_sequential=True)
def alone_raising(steps: Steps) -> Canvas:
    """One task failing with an exception."""
    return steps.place("a", does=RAISES)


@case("a", "a", is_sequential=True)
def throws(steps: Steps) -> Canvas:
    """An exception named in `throws`."""
    return steps.place("a", role="tolerant", does=RAISES)


@case("a b", "a b", is_sequential=True)
def nested_result(steps: Steps) -> Canvas:
    """A result of nested JSON."""
    value = {"a": [1, 2.5, {"b": [None, True, ""]}], "ключ": "значение \U0001f600", "": {}}
    return chain(steps.place("a", does={"returns": value}), steps.place("b"))


@case("a", "a b", is_sequential=True)
def none_result(steps: Steps) -> Canvas:
    """A result of None."""
    return chain(steps.place("a", does={"returns": None}), steps.plain("b"))


@case("a b", "a b", is_sequential=True)
def large_result(steps: Steps) -> Canvas:
    """A result of 300,000 characters, handed on to another."""
    return chain(
        steps.place("a", does={"returns_text_of": 300_000}), steps.place("b", does={"returns": 1})
    )


@case("a", "a b", keeps_result=False, is_sequential=True)
def ignore_result_of_task(steps: Steps) -> Canvas:
    """`ignore_result` as the task's option."""
    return chain(steps.place("a", role="forgetful"), steps.plain("b").set(ignore_result=True))


@case("a", "a b", keeps_result=False, is_sequential=True)
def ignore_result_of_call(steps: Steps) -> Canvas:
    """`ignore_result` of a call."""
    return chain(steps.place("a").set(ignore_result=True), steps.plain("b").set(ignore_result=True))


@case("a", "a", keeps_result=False, is_sequential=True)
def ignore_result_failing(steps: Steps) -> Canvas:
    """`ignore_result`, and a failure."""
    return steps.place("a", role="forgetful", does=RAISES)


@case("a", "a b", is_sequential=True)
def priority_and_headers(steps: Steps) -> Canvas:
    """Priority, shadow name, time limits and headers of one's own are kept."""
    first = steps.place("a").set(
        priority=3, headers={"tenant": "acme"}, shadow="colour", time_limit=60, soft_time_limit=50
    )
    return chain(first, steps.plain("b"))


@case("a c", "a b c", is_sequential=True)
def stamps(steps: Steps) -> Canvas:
    """A stamped chain keeps its stamps."""
    stamped = chain(steps.place("a"), steps.plain("b"), steps.place("c"))
    stamped.stamp(stamped_headers=["tenant"], tenant="acme")
    return stamped


@case("a", "a b s", loses_children=True)
def starts_another(steps: Steps) -> Canvas:
    """A body that starts a task of its own."""
    return chain(steps.place("a", starts=steps.plain("s")), steps.plain("b"))


# --- Chains ---------------------------------------------------------------------------------------


@case("a", "a b c", is_sequential=True)
def chain_first(steps: Steps) -> Canvas:
    """Chain, external first."""
    return chain(steps.place("a", 1), steps.plain("b", 2), steps.plain("c", 3))


@case("b", "a b c", is_sequential=True)
def chain_middle(steps: Steps) -> Canvas:
    """Chain, external in the middle."""
    return chain(steps.plain("a", 1), steps.place("b", 2), steps.plain("c", 3))


@case("c", "a b c", is_sequential=True)
def chain_last(steps: Steps) -> Canvas:
    """Chain, external last."""
    return chain(steps.plain("a", 1), steps.plain("b", 2), steps.place("c", 3))


@case("a b c", "a b c", is_sequential=True)
def chain_of_externals(steps: Steps) -> Canvas:
    """Chain of externals only."""
    return chain(steps.place("a", 1), steps.place("b", 2), steps.place("c", 3))


@case("b", "a b e", is_sequential=True)
def chain_failing(steps: Steps) -> Canvas:
    """Chain, the external in the middle failing: `link_error` of the whole chain."""
    failing = chain(steps.plain("a"), steps.place("b", does=RAISES), steps.plain("c"))
    failing.on_error(steps.errback("e"))
    return failing


@case("b", "a b c", is_sequential=True)
def chain_immutable(steps: Steps) -> Canvas:
    """Chain of immutable signatures."""
    return chain(
        steps.plain("a", 1),
        steps.place("b", 2).set(immutable=True),
        steps.plain("c", 3).set(immutable=True),
    )


# --- link and link_error --------------------------------------------------------------------------


@case("a", "a l", is_sequential=True)
def link(steps: Steps) -> Canvas:
    """One `link`."""
    linked = steps.place("a", 1)
    linked.link(steps.plain("l", 2))
    return linked


@case("a", "a l m n")
def links(steps: Steps) -> Canvas:
    """Several `link`s, one of them a chain and one a group."""
    linked = steps.place("a", 1)
    linked.link(steps.plain("l"))
    linked.link(chain(steps.plain("m1"), steps.plain("m")))
    linked.link(group(steps.plain("n"), steps.plain("o")))
    return linked


@case("l", "a l m", is_sequential=True)
def link_to_external(steps: Steps) -> Canvas:
    """`link` to an external that has a `link` of its own."""
    callback = steps.place("l")
    callback.link(steps.plain("m"))
    linked = steps.plain("a", 1)
    linked.link(callback)
    return linked


@case("a", "a b l")
def link_in_chain(steps: Steps) -> Canvas:
    """`link` of a chain's first step."""
    linked = steps.place("a", 1)
    linked.link(steps.plain("l"))
    return chain(linked, steps.plain("b"))


@case("a", "a e", is_sequential=True)
def link_error_old(steps: Steps) -> Canvas:
    """`link_error` of the old style (task id)."""
    linked = steps.place("a", does=RAISES)
    linked.link_error(steps.old_errback("e"))
    return linked


@case("a", "a e", is_sequential=True)
def link_error_new(steps: Steps) -> Canvas:
    """`link_error` of the new style (request, exception, traceback)."""
    linked = steps.place("a", does=FAILS)
    linked.link_error(steps.errback("e"))
    return linked


@case("a e", "a e", is_sequential=True)
def link_error_to_external(steps: Steps) -> Canvas:
    """`link_error` to an external."""
    linked = steps.place("a", does=RAISES)
    linked.link_error(steps.place("e"))
    return linked


@case("a", "a e f g")
def link_errors(steps: Steps) -> Canvas:
    """Several `link_error`s of both styles."""
    linked = steps.place("a", does=RAISES)
    linked.link_error(steps.errback("e"))
    linked.link_error(steps.old_errback("f"))
    linked.link_error(steps.errback("g"))
    return linked


# --- Groups and chords ----------------------------------------------------------------------------


@case("b a", "a b c")
def group_(steps: Steps) -> Canvas:
    """Group."""
    return group(steps.place("a", 1), steps.place("b", 2), steps.plain("c", 3))


@case("b a", "a b c e")
def group_failing(steps: Steps) -> Canvas:
    """Group with a failing member and a `link_error`."""
    failing = steps.place("b", does=RAISES)
    failing.link_error(steps.errback("e"))
    return group(steps.place("a"), failing, steps.plain("c"))


@case("c a b", "a b c d")
def nested_groups(steps: Steps) -> Canvas:
    """Groups in groups."""
    return group(
        group(steps.place("a", 1), group(steps.place("b", 2))),
        group(steps.place("c", 3), steps.plain("d", 4)),
    )


@case("b a", "a a2 b b2")
def chains_in_group(steps: Steps) -> Canvas:
    """Chains in a group."""
    return group(
        chain(steps.place("a", 1), steps.plain("a2")), chain(steps.plain("b2", 2), steps.place("b"))
    )


@case("b c a", "a b c d", needs_chords=True)
def chord_of_externals(steps: Steps) -> Canvas:
    """Chord, all members external."""
    header = group(steps.place("a", 1), steps.place("b", 2), steps.place("c", 3))
    return chord(header, steps.plain("d"))


@case("b", "a b c d", needs_chords=True)
def chord_with_external(steps: Steps) -> Canvas:
    """Chord, some members external."""
    return chord(
        group(steps.plain("a", 1), steps.place("b", 2), steps.plain("c", 3)), steps.plain("d")
    )


@case("c", "a b c d", needs_chords=True)
def chord_body(steps: Steps) -> Canvas:
    """Chord with an external body, in a chain."""
    return chain(
        chord([steps.plain("a", 1), steps.plain("b", 2)], steps.place("c")), steps.plain("d")
    )


@case("b a c", "a b c", needs_chords=True)
def chord_and_body(steps: Steps) -> Canvas:
    """Chord with external members and body."""
    return chord([steps.place("a", 1), steps.place("b", 2)], steps.place("c"))


@case("b a", "a b c", needs_chords=True)
def chord_failing(steps: Steps) -> Canvas:
    """Chord, a member failing before the others end."""
    header = [steps.place("a"), steps.place("b", does=FAILS), steps.plain("c")]
    return chord(header, steps.plain("d"))


@case("b a", "a b c e f", needs_chords=True)
def chord_failing_link_error(steps: Steps) -> Canvas:
    """Chord, a member failing, `link_error`s of the body."""
    header = [steps.place("a"), steps.place("b", does=RAISES), steps.plain("c")]
    failing = chord(header, steps.plain("d"))
    failing.link_error(steps.errback("e"))
    failing.link_error(steps.old_errback("f"))
    return failing


@case("b a", "a b c e f", needs_chords=True, header_errbacks=True)
def chord_failing_link_error_on_header(steps: Steps) -> Canvas:
    """The same, `task_allow_error_cb_on_chord_header`."""
    return chord_failing_link_error(steps)


@case("a", "a b c e", needs_chords=True)
def chord_body_failing(steps: Steps) -> Canvas:
    """Chord, its external body failing."""
    body = steps.place("a", does=RAISES)
    body.link_error(steps.errback("e"))
    return chord([steps.plain("b"), steps.plain("c")], body)


@case("b a", "a b c d", needs_chords=True)
def group_then_task(steps: Steps) -> Canvas:
    """Group and task in a chain (upgraded to a chord)."""
    return chain(
        group(steps.place("a", 1), steps.place("b", 2)), steps.plain("c"), steps.plain("d")
    )


@case("b a d", "a b c d", needs_chords=True)
def task_then_group_then_task(steps: Steps) -> Canvas:
    """Task, group and task in a chain."""
    return chain(
        steps.plain("c", 1), group(steps.place("a", 2), steps.place("b", 3)), steps.place("d")
    )


@case("c b a", "a b c d e", needs_chords=True)
def nested_chords(steps: Steps) -> Canvas:
    """Chords in a chord's header."""
    inner = chord([steps.place("a", 1), steps.place("b", 2)], steps.plain("d"))
    return chord([inner, steps.place("c", 3)], steps.plain("e"))


@case("d c b a", "a b c d e", needs_chords=True)
def nested_group_in_chord(steps: Steps) -> Canvas:
    """Groups in a chord's header."""
    header = group(
        group(steps.place("a", 1), steps.place("b", 2)),
        group(steps.place("c", 3), steps.place("d", 4)),
    )
    return chord(header, steps.plain("e"))


@case("b a c", "a b c d e f g", needs_chords=True)
def chord_in_chain_in_chord(steps: Steps) -> Canvas:
    """Chord in a chain in a chord."""
    inner = chain(
        steps.plain("d", 1), chord([steps.place("a"), steps.place("b")], steps.plain("e")),
        steps.place("c"),
    )  # fmt: skip
    return chord([inner, steps.plain("f", 2)], steps.plain("g"))


@case("a", "a b", needs_chords=True)
def chord_in_chain_in_chord_failing(steps: Steps) -> Canvas:
    """The same, the innermost member failing."""
    inner = chain(
        chord([steps.place("a", does=RAISES), steps.plain("b")], steps.plain("c")), steps.plain("d")
    )
    return chord([inner], steps.plain("e"))


@case("b a", "a a2 b b2 c", needs_chords=True)
def chains_in_chord(steps: Steps) -> Canvas:
    """Chains in a chord's header."""
    header = [
        chain(steps.place("a", 1), steps.plain("a2")),
        chain(steps.plain("b2", 2), steps.place("b")),
    ]
    return chord(header, steps.plain("c"))


@case("a b", "a b b2", needs_chords=True)
def chains_in_chord_failing(steps: Steps) -> Canvas:
    """Chains in a chord's header, a first step failing."""
    header = [
        chain(steps.place("a", does=RAISES), steps.plain("a2")),
        chain(steps.plain("b2", 2), steps.place("b")),
    ]
    return chord(header, steps.plain("c"))


# --- Sent by name ---------------------------------------------------------------------------------

for _build, _signals, _ends in (
    (chain_of_externals, "a b c", "a b c"),
    (priority_and_headers, "a", "a b"),
    (stamps, "a c", "a b c"),
    (links, "a", "a l m n"),
    (link_errors, "a", "a e f g"),
    (chord_and_body, "b a c", "a b c"),
):
    assert _build.__doc__ is not None
    CASES.append(
        Case(
            name=f"by-name-{_build.__name__}".replace("_", "-"),
            title=f"By name, from an app without the tasks: {_build.__doc__.removesuffix('.')}",
            build=_build,
            signals=tuple(_signals.split()),
            ends=frozenset(_ends.split()),
            is_sent_by_name=True,
            needs_chords=_build is chord_and_body,
        )
    )


# --- Retries --------------------------------------------------------------------------------------


@case("a a", "a b", is_sequential=True)
def autoretry(steps: Steps) -> Canvas:
    """`autoretry_for`, then success: `on_retry`, `task_retry`."""
    first = steps.place("a", 1, role="stubborn", does=[FAILS, None])
    return chain(first, steps.plain("b"))


@case("a a a", "a e", is_sequential=True)
def autoretry_exceeded(steps: Steps) -> Canvas:
    """`autoretry_for` until `max_retries` is exceeded."""
    failing = steps.place("a", role="stubborn", does=[FAILS, FAILS, {"fails": "for good"}])
    failing.link_error(steps.errback("e"))
    return chain(failing, steps.plain("b"))


@case("a", "a", is_sequential=True)
def autoretry_other_exception(steps: Steps) -> Canvas:
    """`autoretry_for`, another exception."""
    return steps.place("a", role="stubborn", does=RAISES)


@case("a", "a b", is_sequential=True)
def retry_in_body(steps: Steps) -> Canvas:
    """`self.retry()` in the body, then success."""
    return chain(steps.place("a", 1, role="modest", hesitates=1), steps.plain("b"))


@case("", "a", is_sequential=True)
def retry_in_body_exceeded(steps: Steps) -> Canvas:
    """`self.retry()` in the body until `max_retries` is exceeded."""
    return steps.place("a", role="modest", hesitates=2)


@case("b a a", "a b c", needs_chords=True)
def autoretry_in_chord(steps: Steps) -> Canvas:
    """`autoretry_for` of a chord's member."""
    first = steps.place("a", 1, role="stubborn", does=[FAILS, None])
    return chord([first, steps.place("b", 2)], steps.plain("c"))


# --- Replacements ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Replacement:
    title: str
    make: Build
    signals: str
    ends: str
    needs_chords: bool = False


@dataclass(frozen=True, slots=True)
class _Where:
    title: str
    put: Callable[[Canvas, Steps], Canvas]
    ends: str
    needs_chords: bool = False


def _link(place: Canvas, steps: Steps) -> Canvas:
    place.link(steps.plain("z"))
    return place


_REPLACEMENTS = {
    "plain": _Replacement("a plain task", lambda steps: steps.plain("p"), "", "p"),
    "external": _Replacement("another external", lambda steps: steps.place("p"), "p", "p"),
    "failing": _Replacement(
        "an external that fails", lambda steps: steps.place("p", does=RAISES), "p", "p"
    ),
    "chain": _Replacement(
        "a chain", lambda steps: chain(steps.plain("p", 5), steps.place("q")), "q", "p q"
    ),
    "group": _Replacement(
        "a group",
        lambda steps: group(steps.place("p"), steps.plain("q")),
        "p",
        "p q",
        needs_chords=True,
    ),
    "chord": _Replacement(
        "a chord",
        lambda steps: chord([steps.place("p"), steps.plain("q")], steps.plain("r")),
        "p",
        "p q r",
        needs_chords=True,
    ),
}
_WHERE = {
    "alone": _Where("alone, with a `link`", _link, "z"),
    "in_chain": _Where(
        "in a chain",
        lambda place, steps: chain(steps.plain("x"), place, steps.plain("z")),
        "x z",
    ),
    "in_chord": _Where(
        "in a chord's header",
        lambda place, steps: chord([place, steps.plain("x")], steps.plain("z")),
        "x z",
        needs_chords=True,
    ),
}


def _replace(replacement: _Replacement, where: _Where) -> Build:
    def build(steps: Steps) -> Canvas:
        return where.put(steps.place("a", becomes=replacement.make(steps)), steps)

    return build


for _how, _replacement in _REPLACEMENTS.items():
    for _place, _where in _WHERE.items():
        # What fails has nothing after it.
        _all_ends = {*_replacement.ends.split(), *_where.ends.split()}
        CASES.append(
            Case(
                name=f"replace-by-{_how}-{_place}".replace("_", "-"),
                title=f"`replace` by {_replacement.title}, {_where.title}",
                build=_replace(_replacement, _where),
                signals=tuple(_replacement.signals.split()),
                ends=frozenset(_all_ends - {"z"} if _how == "failing" else _all_ends),
                is_replaced=True,
                needs_chords=_replacement.needs_chords or _where.needs_chords,
            )
        )
