"""JSON that is read from disk: checked against a schema, in one way, before any code relies on it."""

import json
from functools import cached_property
from typing import Any

__all__ = ["COUNT", "NUMBER", "POSITIVE", "SECONDS", "SHA256", "TEXT", "Schema", "either", "exactly", "list_of"]

LARGEST = 2**53  # whole numbers up to which a float is exact
TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 0, "maximum": LARGEST}
POSITIVE = {**COUNT, "minimum": 1}
NUMBER = {"type": "number", "minimum": -1e300, "maximum": 1e300}  # JSON's 1e999 is read as infinity
SECONDS = {"type": "number", "minimum": 0, "maximum": LARGEST}
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
    def _validator(self) -> Any:
        from jsonschema import Draft4Validator  # seconds, where Jupyter installed its formats; its 9.0 is no integer

        return Draft4Validator(self._plain)

    def check(self, plain: Any) -> Any:
        """Return values that are as described; ValueError for others."""
        if (error := next(self._validator.iter_errors(plain), None)) is not None:
            raise ValueError(f"{'.'.join(map(str, error.path)) or 'it'} is not what is expected: {error.message[:200]}")
        return plain

    def parse(self, text: bytes | str) -> Any:
        """Return what JSON text holds; ValueError if it is none, or not as described."""
        try:
            return self.check(json.loads(text, parse_constant=_no_number))
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
