"""A form's inputs: what a page shows for each field of a JSON schema, and reads back from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import strict_json

#: Longer texts get more than a line.
LONG_TEXT = 200
#: Of a class, for programmers.
_WORDS = frozenset({"title", "description"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a page.

    Attributes:
        name: The field's, in what is sent.
        label: The field's, for people; ``description`` says more.
        kind: text, long_text, checkbox, number, integer, select, date, time or json.
        required: It must not be empty.
        nullable: Empty, it is None.
        default: What it shows at first: a text, or whether a checkbox is ticked. None: nothing.
        options: What a select offers: the texts, and the values they stand for.
        attributes: Of the HTML element, such as ``maxlength``.
    """

    name: str
    label: str
    kind: str
    required: bool
    nullable: bool = False
    default: str | bool | None = None
    description: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def read(self, typed: Mapping[str, str]) -> Iterator[Any]:
        """The value that was typed, if there is one."""
        text = typed.get(self.name)
        if self.kind == "checkbox":
            yield text is not None
        elif text is None:
            return
        elif not text and text not in self.options:
            yield from self._read_empty()
        else:
            yield self._convert(text.replace("\r\n", "\n"))

    def _read_empty(self) -> Iterator[Any]:
        """Nothing was typed: None, or as if it had not been asked, or the empty text itself."""
        if self.nullable:
            yield None
        elif not self.required and self.default is not None:
            yield ""  # cleared on purpose: the default would not be what was seen

    def _convert(self, text: str) -> Any:
        if self.kind == "select":
            return self.options.get(text, text)
        if self.kind == "integer" and _INTEGER.fullmatch(text):
            return int(text)
        if self.kind in {"number", "json"}:
            try:
                return float(text) if self.kind == "number" else strict_json.load(text)
            except ValueError:
                return text
        return text


def inputs_of(schema: Mapping[str, Any]) -> tuple[Input, ...]:
    """The inputs for an object of this JSON schema, as pydantic writes it, in its order."""
    definitions = schema.get("$defs", {})
    required = schema.get("required", ())
    return tuple(
        _input(name, _resolve(part, definitions), is_required=name in required)
        for name, part in schema.get("properties", {}).items()
    )


def _resolve(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of one field, with what it refers to, and None only said by ``nullable``."""
    found = dict(part)
    while True:
        alternatives = found.get("anyOf", ())
        real = [one for one in alternatives if one.get("type") != "null"]
        if "$ref" in found:
            # What stands beside a reference, such as a default, goes before what it refers to,
            # whose title is the class's name.
            referred = definitions[found.pop("$ref").rpartition("/")[2]]
            found = {key: referred[key] for key in referred.keys() - _WORDS} | found
        elif len(real) < len(alternatives):
            found["nullable"] = True
            found["anyOf"] = real
        elif len(alternatives) == 1:
            del found["anyOf"]
            found = {**real[0], **found}
        else:
            return found


def _input(name: str, part: Mapping[str, Any], *, is_required: bool) -> Input:
    options = _options(part)
    kind = "select" if options else _kind(part)
    return Input(
        name=name,
        label=part.get("title", name.replace("_", " ").capitalize()),
        kind=kind,
        required=is_required,
        nullable=part.get("nullable", False),
        default=_default(part.get("default"), kind, options),
        description=part.get("description"),
        options=options,
        attributes=_attributes(part, kind),
    )


_KINDS = {
    "boolean": "checkbox",
    "integer": "integer",
    "number": "number",
    "array": "json",
    "object": "json",
}


def _kind(part: Mapping[str, Any]) -> str:
    if part.get("type") != "string":
        return _KINDS.get(part.get("type", ""), "text")
    if part.get("format") == "date":
        return "date"
    return "long_text" if part.get("maxLength", 0) > LONG_TEXT else "text"


def _options(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "boolean" and part.get("nullable"):
        return {"yes": True, "no": False}  # a checkbox has no third state
    values = [part["const"]] if "const" in part else part.get("enum", ())
    return {_as_text(value): value for value in values}


def _default(value: Any, kind: str, options: Mapping[str, Any]) -> str | bool | None:
    if kind == "checkbox":
        return bool(value)
    if kind == "select":
        return next((text for text, offered in options.items() if offered == value), None)
    return None if value is None else _as_text(value)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _attributes(part: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Limits that a browser can tell of before it sends; the server checks them all."""
    found: dict[str, Any] = {}
    if kind in {"text", "long_text"} and "maxLength" in part:
        found["maxlength"] = part["maxLength"]
    if kind in {"integer", "number"}:
        found["step"] = 1 if kind == "integer" else "any"
        limits = {"min": part.get("minimum"), "max": part.get("maximum")}
        found.update({name: limit for name, limit in limits.items() if limit is not None})
    return found
