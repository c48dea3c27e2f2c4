"""Checks values against the files of schemas/: the words of JSON Schema that these use, and no others.

    check = Schema("extract.schema.json").check
    check(value, "report")          AssertionError where value does not fit the definition
"""
import json
import pathlib
import re

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "schemas"
TYPES = {"string": str, "object": dict, "array": list, "boolean": bool, "integer": int, "number": (int, float), "null": type(None)}
WORDS = {"$ref", "anyOf", "enum", "const", "type", "pattern", "minimum", "maximum", "maxItems", "items", "required", "properties", "additionalProperties", "title", "description"}


class Schema:
    def __init__(self, name):
        self.definitions = json.loads((FOLDER / name).read_text(encoding="utf-8"))["$defs"]

    def check(self, value, definition):
        self._check(value, self.definitions[definition])

    def _check(self, value, schema):
        assert not set(schema) - WORDS, f"a word this reader does not know: {set(schema) - WORDS}"
        if "$ref" in schema:
            file, definition = schema["$ref"].split("#/$defs/")
            (Schema(file) if file else self).check(value, definition)
        if "anyOf" in schema:
            self._check_any(value, schema["anyOf"])
        assert "enum" not in schema or value in schema["enum"], (value, schema)
        assert "const" not in schema or value == schema["const"], (value, schema)
        self._check_type(value, schema.get("type"))
        if isinstance(value, str) and "pattern" in schema:
            assert re.search(schema["pattern"], value), (value, schema)
        if isinstance(value, (int, float)) and "minimum" in schema:
            assert value >= schema["minimum"], (value, schema)
        if isinstance(value, (int, float)) and "maximum" in schema:
            assert value <= schema["maximum"], (value, schema)
        if isinstance(value, list):
            assert len(value) <= schema.get("maxItems", len(value)), (len(value), schema)
            for item in value:
                self._check(item, schema.get("items", {}))
        if isinstance(value, dict):
            self._check_members(value, schema)

    def _check_any(self, value, choices):
        reasons = []
        for choice in choices:
            try:
                return self._check(value, choice)
            except AssertionError as reason:
                reasons.append(reason)
        raise AssertionError(reasons)

    @staticmethod
    def _check_type(value, names):
        if names is None:
            return
        names = [names] if isinstance(names, str) else names
        fits = [isinstance(value, TYPES[name]) and (name == "boolean") == isinstance(value, bool) for name in names]
        assert any(fits), (value, names)

    def _check_members(self, value, schema):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties", {})
        assert set(schema.get("required", ())) <= set(value), (sorted(value), schema["required"])
        for name, item in value.items():
            assert name in known or rest is not False, name
            self._check(item, known.get(name, rest if isinstance(rest, dict) else {}))
