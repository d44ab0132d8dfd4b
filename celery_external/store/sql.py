"""The few expressions that PostgreSQL and SQLite spell differently."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from celery_external.schema import Json, UtcDateTime


class now(GenericFunction[datetime]):  # noqa: N801 - reads as SQL
    """The database's clock at this moment, not at the transaction's start."""

    type = UtcDateTime()
    inherit_cache = True
    package = "celery_external"


class statement_now(GenericFunction[datetime]):  # noqa: N801 - reads as SQL
    """The clock as the statement began: the planner knows it, and how many rows are before it."""

    type = UtcDateTime()
    inherit_cache = True
    package = "celery_external"


class seconds_from_now(GenericFunction[datetime]):  # noqa: N801 - reads as SQL
    """The database's clock and so many seconds; NULL for NULL."""

    type = UtcDateTime()
    inherit_cache = True
    package = "celery_external"


class earliest(GenericFunction[datetime]):  # noqa: N801 - reads as SQL
    """The earliest of two times, where NULL means never."""

    type = UtcDateTime()
    inherit_cache = True
    package = "celery_external"


class moved_back(GenericFunction[datetime]):  # noqa: N801 - reads as SQL
    """A time, so many seconds earlier; NULL for NULL."""

    type = UtcDateTime()
    inherit_cache = True
    package = "celery_external"


class json_has(GenericFunction[bool]):  # noqa: N801 - reads as SQL
    """Whether the JSON on the left contains the JSON on the right (PostgreSQL's ``@>``)."""

    type = sa.Boolean()
    inherit_cache = True
    package = "celery_external"


class is_among(GenericFunction[bool]):  # noqa: N801 - reads as SQL
    """Whether the column is an element of a JSON array: any number of texts is one parameter."""

    type = sa.Boolean()
    inherit_cache = True
    package = "celery_external"


class is_any(sa.ColumnElement[bool]):  # noqa: N801 - reads as SQL
    """Whether the column is among the results of a query, which is run first, by itself."""

    type = sa.Boolean()
    inherit_cache = False

    def __init__(self, column: sa.ColumnElement[Any], query: sa.Select[Any]) -> None:
        self.column = column
        self.query = query.correlate(None).scalar_subquery()

    def self_group(self, against: Any = None) -> is_any:  # noqa: ARG002
        """It has its brackets."""
        return self


class in_binary(GenericFunction[Any]):  # noqa: N801 - reads as SQL
    """A parameter that psycopg sends in binary: in an array of texts it need not quote each."""

    inherit_cache = True
    package = "celery_external"


class has_bytes(GenericFunction[bool]):  # noqa: N801 - reads as SQL
    """Whether the bytes on the left contain the bytes on the right."""

    type = sa.Boolean()
    inherit_cache = True
    package = "celery_external"


class explained(sa.Executable, sa.ClauseElement):  # noqa: N801 - reads as SQL
    """PostgreSQL's plan for a query, as JSON; the query is not run."""

    inherit_cache = False
    exported_columns = (sa.column("plan", Json()),)

    def __init__(self, query: sa.Select[Any]) -> None:
        self.query = query


def once(moment: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    """The clock, read once: read anew for each row, no index could be searched by it."""
    return sa.select(moment).scalar_subquery()


def each_text(dialect: str, array: sa.ColumnElement[Any]) -> sa.TableValuedAlias:
    """The texts of a JSON array, as rows with a ``value``."""
    function = sa.func.jsonb_array_elements_text if dialect == "postgresql" else sa.func.json_each
    return function(array).table_valued(sa.column("value", sa.Text()), name="each")


def _sides(element: GenericFunction[Any], compiler: SQLCompiler, **kw: Any) -> tuple[str, ...]:
    return tuple(compiler.process(clause, **kw) for clause in element.clauses)


_SQLITE_CLOCK = "'%Y-%m-%d %H:%M:%f000'"


def _sqlite_clock(compiler: SQLCompiler) -> str:
    # A paramstyle with % wants it doubled.
    return _SQLITE_CLOCK.replace("%", "%%") if compiler.preparer._double_percents else _SQLITE_CLOCK  # noqa: SLF001


@compiles(explained, "postgresql")
def _explained_postgresql(element: explained, compiler: SQLCompiler, **kw: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.query, **kw)}"


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ARG001
    return "clock_timestamp()"


@compiles(statement_now, "postgresql")
def _statement_now_postgresql(element: statement_now, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ARG001
    return "statement_timestamp()"


@compiles(statement_now, "sqlite")
@compiles(now, "sqlite")
def _now_sqlite(element: GenericFunction[Any], compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ARG001
    return f"strftime({_sqlite_clock(compiler)}, 'now')"


@compiles(seconds_from_now, "postgresql")
def _from_now_postgresql(element: seconds_from_now, compiler: SQLCompiler, **kw: Any) -> str:
    (seconds,) = _sides(element, compiler, **kw)
    return f"clock_timestamp() + make_interval(secs => CAST({seconds} AS double precision))"


@compiles(seconds_from_now, "sqlite")
def _from_now_sqlite(element: seconds_from_now, compiler: SQLCompiler, **kw: Any) -> str:
    (seconds,) = _sides(element, compiler, **kw)
    return f"strftime({_sqlite_clock(compiler)}, 'now', ({seconds}) || ' seconds')"


@compiles(earliest, "postgresql")
def _earliest_postgresql(element: earliest, compiler: SQLCompiler, **kw: Any) -> str:
    one, other = _sides(element, compiler, **kw)
    return f"LEAST({one}, {other})"


@compiles(earliest, "sqlite")
def _earliest_sqlite(element: earliest, compiler: SQLCompiler, **kw: Any) -> str:
    one, other = _sides(element, compiler, **kw)
    return f"min(coalesce({one}, {other}), coalesce({other}, {one}))"


@compiles(moved_back, "postgresql")
def _moved_back_postgresql(element: moved_back, compiler: SQLCompiler, **kw: Any) -> str:
    moment, seconds = _sides(element, compiler, **kw)
    return f"{moment} - make_interval(secs => CAST({seconds} AS double precision))"


@compiles(moved_back, "sqlite")
def _moved_back_sqlite(element: moved_back, compiler: SQLCompiler, **kw: Any) -> str:
    moment, seconds = _sides(element, compiler, **kw)
    return f"strftime({_sqlite_clock(compiler)}, {moment}, (-{seconds}) || ' seconds')"


@compiles(json_has, "postgresql")
def _json_has_postgresql(element: json_has, compiler: SQLCompiler, **kw: Any) -> str:
    left, right = _sides(element, compiler, **kw)
    return f"({left} @> {right})"


@compiles(json_has, "sqlite")
def _json_has_sqlite(element: json_has, compiler: SQLCompiler, **kw: Any) -> str:
    left, right = _sides(element, compiler, **kw)
    return f"celery_external_json_has({left}, {right})"


@compiles(is_among, "postgresql")
def _is_among_postgresql(element: is_among, compiler: SQLCompiler, **kw: Any) -> str:
    # By an array, and not IN: then it is looked up by an index also where there are no statistics,
    # as in a table that has just been filled.
    column, array = _sides(element, compiler, **kw)
    return f"({column} = ANY (ARRAY(SELECT jsonb_array_elements_text({array}))))"


@compiles(is_among, "sqlite")
def _is_among_sqlite(element: is_among, compiler: SQLCompiler, **kw: Any) -> str:
    column, array = _sides(element, compiler, **kw)
    return f"({column} IN (SELECT value FROM json_each({array})))"  # noqa: S608 - compiled


@compiles(is_any, "postgresql")
def _is_any_postgresql(element: is_any, compiler: SQLCompiler, **kw: Any) -> str:
    column, query = (compiler.process(side, **kw) for side in (element.column, element.query))
    return f"({column} = ANY (ARRAY{query}))"


@compiles(is_any, "sqlite")
def _is_any_sqlite(element: is_any, compiler: SQLCompiler, **kw: Any) -> str:
    column, query = (compiler.process(side, **kw) for side in (element.column, element.query))
    return f"({column} IN {query})"


@compiles(in_binary, "postgresql")
def _in_binary_postgresql(element: in_binary, compiler: SQLCompiler, **kw: Any) -> str:
    (parameter,) = _sides(element, compiler, **kw)
    return f"{parameter.removesuffix('s')}b"


@compiles(has_bytes, "postgresql")
def _has_bytes_postgresql(element: has_bytes, compiler: SQLCompiler, **kw: Any) -> str:
    left, right = _sides(element, compiler, **kw)
    return f"(position({right} IN {left}) > 0)"


@compiles(has_bytes, "sqlite")
def _has_bytes_sqlite(element: has_bytes, compiler: SQLCompiler, **kw: Any) -> str:
    left, right = _sides(element, compiler, **kw)
    return f"(instr({left}, {right}) > 0)"
