"""Structured answers of simulated models: what form a request asks for, and a value that fits its schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bakeoff.gateway.types import JsonDict, ModelRequest

# How `with_structured_output` reads a simulated model's reply, by its method.
WAYS = {"default": "tools", "function_calling": "tools", "json_schema": "text", "json_mode": "text"}
_UNKNOWN = object()
_FORCED = ("any", "required", True)
_FORMATS = {"date": "2026-01-01", "date-time": "2026-01-01T00:00:00Z", "time": "00:00:00Z"}
_KINDS = {bool: ("boolean",), int: ("integer", "number"), float: ("number",), list: ("array",)}
MOST_VALUES = 2000  # in one answer: the schema comes from the sandbox
_MOST_LEVELS = 30  # of a schema, which may contain itself


@dataclass(frozen=True, slots=True)
class Form:
    """The form of an answer: a call of a tool of this name, or, without one, JSON as text."""

    schema: JsonDict
    tool: str | None = None
    at_once: bool = False  # no other tool may be called before


def form(request: ModelRequest, right: Any, steps: frozenset[str]) -> Form | None:
    """The form that a request wants its answer in. None: text.

    Args:
        request: of the harness.
        right: the reference answer. Of several forms, the first that has its keys is chosen.
        steps: names of the tools of the reference trajectory, which are no forms.
    """
    if request.structured is not None:
        schema = request.structured.get("schema") or {}
        way = WAYS.get((request.structured.get("options") or {}).get("method") or "default")
        return Form(schema, str(schema.get("title") or schema.get("name")) if way == "tools" else None)
    wanted = request.bind.get("response_format") or request.params.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") in ("json_schema", "json_object"):
        return Form((wanted.get("json_schema") or {}).get("schema") or {})
    chosen = _chosen(request.tool_choice)
    forms = {name: schema for name, schema in schemas(request).items() if name not in steps}
    if isinstance(chosen, str) and chosen in forms:
        return Form(forms[chosen], chosen, at_once=True)
    if chosen is not True or not forms:
        return None
    keys = _object(right).keys()
    fitting = [
        name for name, schema in forms.items() if keys and keys <= (schema.get("properties") or {}).keys()
    ]
    name = [*fitting, *reversed(forms)][0]  # create_agent offers its forms last
    return Form(forms[name], name)


def schemas(request: ModelRequest) -> dict[str, JsonDict]:
    """The tools that a request offers: their parameters by their names."""
    inner = [(tool, tool.get("function")) for tool in request.tools or ()]
    functions = [function if isinstance(function, dict) else tool for tool, function in inner]
    return {
        str(function["name"]): function.get("parameters") or function.get("input_schema") or {}
        for function in functions
        if function.get("name")
    }


def _chosen(choice: Any) -> str | bool | None:
    """The tool that must be called; True: any; None: there is no need to call one."""
    if isinstance(choice, dict):
        name = choice.get("name") or (choice.get("function") or {}).get("name")
        return str(name) if name else choice.get("type") in _FORCED
    if choice in ("auto", "none", None, False):
        return None
    return True if choice in _FORCED else str(choice)


def _object(value: Any) -> JsonDict:
    """The object that an answer is, also as JSON text; else an empty one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def fill(schema: JsonDict, right: Any, *, wrong: str | None = None) -> Any:
    """A value that fits a schema, made of the reference answer where it can be.

    A reference that is text goes into the first text of the object, unless a choice there equals it.

    Args:
        schema: JSON schema, with `$defs`.
        right: the reference answer.
        wrong: what to say in place of every text of the reference; its numbers and choices become others.

    Raises:
        ValueError: the schema asks for too much, for example for itself.
    """
    given = _object(right) or right
    return _Filler(schema, wrong).value(schema, given, 0)


class _Filler:
    def __init__(self, root: JsonDict, wrong: str | None) -> None:
        self.root, self.wrong, self.left = root, wrong, MOST_VALUES

    def value(self, schema: Any, right: Any, level: int) -> Any:
        schema = self.resolved(schema)
        self.left -= 1
        if level > _MOST_LEVELS or self.left < 0:
            raise ValueError("the schema of the answer has no end")
        if "const" in schema:
            return schema["const"]
        if choices := schema.get("enum"):
            return self.choice(choices, right)
        kind = schema.get("type")
        make = {
            "array": self.array,
            "integer": self.number,
            "number": self.number,
            "boolean": self.truth,
            "null": lambda *_: None,
            "string": self.text,
            "object": self.object,
        }.get(kind[0] if isinstance(kind, list) and kind else kind)
        if make is None:
            make = self.object if "properties" in schema or isinstance(right, dict) else self.text
        return make(schema, right, level)

    def array(self, schema: JsonDict, right: Any, level: int) -> list[Any]:
        items = right if isinstance(right, list) else [] if right is _UNKNOWN else [right]
        least = [_UNKNOWN] * (min(schema.get("minItems", 0), MOST_VALUES) - len(items))
        return [self.value(schema.get("items") or {}, item, level + 1) for item in [*items, *least]]

    def truth(self, schema: JsonDict, right: Any, level: int) -> bool:
        return (right is True) == (self.wrong is None or right is _UNKNOWN)

    def object(self, schema: JsonDict, right: Any, level: int) -> JsonDict:
        properties, required = schema.get("properties") or {}, schema.get("required") or ()
        if isinstance(right, dict):
            given = right
        else:
            place = self.place(properties, right)
            given = {} if place is None else {place: right}
        names = [name for name in properties if name in given or name in required] or list(given)
        return {
            name: self.value(properties.get(name) or {}, given.get(name, _UNKNOWN), level + 1)
            for name in names
        }

    def place(self, properties: Mapping[str, Any], right: Any) -> str | None:
        """The property that an answer which is no object belongs into."""
        resolved = {name: self.resolved(schema) for name, schema in properties.items()}
        choices = (name for name, schema in resolved.items() if right in (schema.get("enum") or ()))
        kinds = _KINDS.get(type(right), ("string",))
        fitting = (
            name
            for name, schema in resolved.items()
            if schema.get("type") in kinds and not schema.get("enum")
        )
        return next(choices, None) or next(fitting, None) or next(iter(properties), None)

    def choice(self, choices: list[Any], right: Any) -> Any:
        if right in choices and self.wrong is None:
            return right
        return next((choice for choice in choices if choice != right), choices[0])

    def text(self, schema: JsonDict, right: Any, level: int) -> str:
        blank = _FORMATS.get(str(schema.get("format")))
        if right is _UNKNOWN:
            return blank or "-" * max(1, min(int(schema.get("minLength", 1)), MOST_VALUES))
        if self.wrong is not None:
            return blank or self.wrong
        return right if isinstance(right, str) else json.dumps(right, ensure_ascii=False)

    def number(self, schema: JsonDict, right: Any, level: int) -> Any:
        kind = int if schema.get("type") == "integer" else float
        try:
            number = kind(right)
        except (TypeError, ValueError):
            return kind(schema.get("minimum", 0))
        return number if self.wrong is None else number + 1

    def resolved(self, schema: Any) -> JsonDict:
        """The schema behind references, and the first of several that is not null."""
        for _ in range(_MOST_LEVELS):
            if not isinstance(schema, dict):
                return {}
            options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
            if reference := schema.get("$ref"):
                schema = (self.root.get("$defs") or {}).get(str(reference).rpartition("/")[2])
            elif options and "properties" not in schema:
                schema = next((each for each in options if each.get("type") != "null"), options[0])
            else:
                return schema
        return {}
