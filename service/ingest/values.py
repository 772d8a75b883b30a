"""What an attribute's value may be taken for: a text fit for a label, a sane number, a document."""

import json
import math
import re
from collections.abc import Mapping

from service.ingest.vocabulary import LABEL_CHARACTERS_MAX, Scalar, label

DOCUMENT_CHARACTERS_MAX = 65_536
"""A longer JSON attribute is not read: metadata is short, prompts are not our business."""
NUMBER_MAX = float(2**53)
_AS_JSON = {"'": '"', "None": "null", "True": "true", "False": "false"}
_PRINTED = re.compile("'|None|True|False")


def text_of(value: Scalar) -> str:
    """A value fit for a label. Langfuse 5 writes metadata as JSON text, so a string may be in quotes."""
    text = value if type(value) is str else _worded(value)
    if text[:1] == '"' == text[-1:]:
        text = text[1:-1]
    return text if len(text) <= LABEL_CHARACTERS_MAX and text.isprintable() else label(text)


def parse_document(value: Scalar) -> Mapping[str, object]:
    """The JSON object that a text is, a list under the empty name; empty for any other text, which is no error.

    LiteLLM and CrewAI send what Python prints for a dictionary.

    >>> parse_document("{'cached_tokens': 64, 'audio_tokens': None}")
    {'cached_tokens': 64, 'audio_tokens': None}
    """
    if type(value) is not str or len(value) > DOCUMENT_CHARACTERS_MAX or not value.startswith(("{", "[")):
        return {}
    if value.startswith("{'"):
        value = _PRINTED.sub(lambda word: _AS_JSON[word[0]], value)
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {"": document}


def sane_number(value: Scalar) -> float:
    """A count or an amount, or -1.0 for what is none: negative, NaN, infinite, past 2**53 or not a number.

    >>> sane_number("12"), sane_number(float("nan")), sane_number(-5), sane_number("many")
    (12.0, -1.0, -1.0, -1.0)
    """
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return -1.0
    return number if 0.0 <= number <= NUMBER_MAX and math.isfinite(number) else -1.0


def _worded(value: Scalar) -> str:
    if type(value) is bool:
        return "true" if value else "false"
    return str(value)
