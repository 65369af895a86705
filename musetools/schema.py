"""JSON that is read from disk: checked against a schema, in one way, before any code relies on it."""

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

__all__ = ["COUNT", "NUMBER", "POSITIVE", "RATE", "SECONDS", "SHA256", "TEXT", "Schema", "either", "exactly", "list_of"]
__all__ += ["read_json"]

DRAFT = "http://json-schema.org/draft-04/schema#"  # the last one for which 9.0 is no whole number
LARGEST = 2**53  # whole numbers up to which a float is exact
TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 0, "maximum": LARGEST}
POSITIVE = {**COUNT, "minimum": 1}
NUMBER = {"type": "number", "minimum": -1e300, "maximum": 1e300}  # JSON's 1e999 is read as infinity
SECONDS = {"type": "number", "minimum": 0, "maximum": LARGEST}
RATE = {**TEXT, "pattern": r"^0*[1-9][0-9]{0,19}(/0*[1-9][0-9]{0,19})?\Z"}
RATE["description"] = 'rate in quotes, such as "25" or "30000/1001"'
SHA256 = {"type": "string", "pattern": r"^[0-9a-f]{64}\Z"}


def exactly(*optional: str, **properties: Any) -> dict[str, Any]:
    """Describe an object of these properties and no others, of which some may be left out."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


def list_of(items: dict[str, Any]) -> dict[str, Any]:
    """Describe a list."""
    return {"type": "array", "items": items}


def either(*schemas: dict[str, Any] | None) -> dict[str, Any]:
    """Describe what fits one of several descriptions; None stands for null."""
    return {"anyOf": [schema or {"type": "null"} for schema in schemas]}


class Schema:
    """What a file must hold."""

    def __init__(self, plain: dict[str, Any]):
        self._plain = plain

    @cached_property
    def _compiled(self) -> Callable[[Any], Any]:
        import fastjsonschema

        return fastjsonschema.compile({"$schema": DRAFT, **self._plain}, use_default=False)

    def check(self, plain: Any) -> Any:
        """Return values that are as described; ValueError for others."""
        from fastjsonschema import JsonSchemaValueException

        try:
            return self._compiled(plain)
        except JsonSchemaValueException as error:
            raise ValueError(f"{'.'.join(error.path[1:]) or 'it'} is not what is expected: {_fault(error)}") from None

    def parse(self, text: bytes | str) -> Any:
        """Return what JSON text holds; ValueError if it is none, or not as described."""
        return self.check(read_json(text))


def read_json(text: bytes | str) -> Any:
    """Return what JSON text holds; ValueError if it is none."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _fault(error: Any) -> str:
    """Say what is wrong with a value, in fastjsonschema's words but for names."""
    if error.rule == "required":
        return f"{_quoted(set(error.rule_definition) - set(error.value))} is missing"
    if error.rule == "additionalProperties":
        return f"{_quoted(set(error.value) - set(error.definition['properties']))} is unknown"
    text = repr(error.value)
    if "description" in error.definition:
        return f"{text[:100]} is no {error.definition['description']}"
    return f"{text[:100]}{'…' * (len(text) > 100)} {error.message.removeprefix(error.name)[:200].strip()}"


def _quoted(names: set[str]) -> str:
    return ", ".join(f"{name!r:.100}" for name in sorted(names)[:5])


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
