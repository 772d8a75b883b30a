"""The JSON Schema of rule files, for editors: made from the same types that read them, so it cannot say anything else.

A schema knows less than `tocsin check`: it does not look into regular expressions, selections and summaries, and what a
field's text is read by that has no `written` form here may be anything.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from alertrules.fields import WRITTEN
from alertrules.parse import NO_WORDS, Words, grammar_of
from detectors.core.descriptor import Descriptor, descriptor, words

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Json = dict[str, Any]


class _Schema(GenerateJsonSchema):
    """Pydantic's schema, but of what is written: text that is read before it is checked has another type then."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> Json:
        """The form that is written, where a type says it; else whatever the type could be made of."""
        inner = self.generate_inner(schema["schema"])
        if WRITTEN in json.dumps(inner) or "$ref" in inner or inner.get("type") == "object":
            return inner
        if inner.get("type") == "array":  # One of them need not stand in a list.
            return {"anyOf": [inner.get("items", {}), inner, {"type": "null"}]}
        return {}


def schema(receivers: Words = NO_WORDS) -> Json:
    """The schema of a file whose receivers may say these words."""
    whole = grammar_of(receivers).whole.model_json_schema(by_alias=True, schema_generator=_Schema)
    _strip(whole)
    rule = whole["$defs"]["Rule"]
    rule["allOf"] = list(_together())
    return {"$schema": DIALECT, "title": "Tocsin's rules", **whole}


def _strip(node: Any) -> None:
    """Leave out what people do not write: names and defaults as Python has them, and our own marks."""
    if isinstance(node, list):
        for one in node:
            _strip(one)
    elif isinstance(node, dict):
        for key in ("title", "default", WRITTEN):
            if not isinstance(node.get(key), dict):  # A field may be called so.
                node.pop(key, None)
        if "$ref" not in node and node.get("type") == "object":
            node.pop("description", None)
        for value in node.values():
            _strip(value)


def _together() -> Iterator[Json]:
    """What the rules of each detector must and may say, as conditions on `detector`."""
    names: dict[str, list[str]] = {}
    for word in words():
        names.setdefault(word.partition(".")[0], []).append(word)
    for mine in names.values():
        described = descriptor(mine[0])
        assert described is not None
        asks = {"properties": {"detector": {"enum": mine}}, "required": ["detector"]}
        yield {"if": asks, "then": _fields(described)}


def _fields(described: Descriptor) -> Json:
    """What a rule with this detector must and may say."""
    limit = described.limit
    takes: Mapping[str, bool] = {
        "signal": described.takes_signal,
        "objective": described.takes_objective,
        "windows": described.takes_objective,
        "every": described.takes_every,
        "grace": described.takes_every,
        "effect": described.effects is not None,
        "above": limit is not None,
        "below": limit is not None and limit.below,
        "budget": limit is None and not described.takes_objective,
        "window": described.takes_window,
        "season": described.takes_season,
        "select": not described.of_pipeline,
    }
    fields: Json = {name: {"type": "null"} for name, is_taken in takes.items() if not is_taken}
    if described.of_pipeline:
        fields["by"] = {"maxItems": 0}
    must = [[name] for name in ("signal", "objective") if takes[name]]
    if limit is not None:
        must.append(["above", "below"] if limit.below else ["above"])
    elif takes["budget"]:
        must.append(["budget", "every"] if takes["every"] else ["budget"])
    return {"properties": fields, "allOf": [{"oneOf": [_said(name) for name in one_of]} for one_of in must]}


def _said(name: str) -> Json:
    """That a field is there, and not empty."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
