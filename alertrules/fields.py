"""The fields of a rule file as types: how each kind of text is read.

Validators raise ValueError with a whole sentence (what was read; what is expected): parse.py only adds where.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from alertrules.lifecycle import Labels
from alertrules.quantities import Effect, budget_per_week, duration_ns, effect, share
from alertrules.select import Matchers, parse_matchers
from alertrules.summary import template
from detectors.core.columns import CELL_LABELS
from detectors.core.descriptor import descriptor, modules, words
from detectors.core.signals import SIGNALS
from detectors.slo import WINDOW_NAMES

_MINUTE_NS = 60 * 1_000_000_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)
_LINK = re.compile(r"https?://[^\s<>|\"{}\\^`]+")
SEASONS = ("day", "week")
"""What each day may be expected to be like: the day before, or that of a week ago."""
GROUP_LABELS = ("alert", "severity", *CELL_LABELS, "trace")
"""What notices may be grouped by, with the rules' own `labels`."""


class Severity(StrEnum):
    """How much it matters, most first. `page` is another word for critical; a ticket is sent to nobody."""

    CRITICAL = "critical"
    PAGE = "page"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    TICKET = "ticket"


def _severity(text: object) -> Severity:
    for word in Severity:
        if text == word.value:
            return word
    raise ValueError(f"{text!r:.80} is not one of {', '.join(Severity)}")


def _detector(text: object) -> str:
    """The word of a detector that there is."""
    if isinstance(text, str) and descriptor(text) is not None:
        return text
    described = modules()
    name = text.partition(".")[0] if isinstance(text, str) else ""
    if name in described and described[name].models:
        known = [f"{name}.{model}" for model in described[name].models]
    else:
        known = [f"{name}.NAME" if one.models else name for name, one in described.items()]
    raise ValueError(f"{text!r:.80} is not one of {', '.join(known)}")


def _name(text: object) -> str:
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise ValueError(f"{text!r:.80} is not a name; write letters, digits and _, like ToolErrorsUp")
    return text


def _expire_after(written_ns: int) -> int:
    if written_ns < 10 * _MINUTE_NS:
        raise ValueError("expire_after is at least 10m; write 6h, or 1d for an agent that is called once a day")
    return written_ns


def _labels(written: object) -> Labels:
    if not isinstance(written, Mapping):
        raise ValueError(f"{written!r:.80} is not a mapping; write {{team: agents}}")
    for name, value in written.items():
        _name(name)
        if not isinstance(value, str) or len(value) > 200:
            raise ValueError(f"{name}: {value!r:.80} is not text of at most 200 characters; put it in quotes")
        if name in GROUP_LABELS:
            raise ValueError(f'"{name}" is a label of the series; choose another name')
    return tuple(sorted(written.items()))


def _url(text: object) -> str:
    if not isinstance(text, str) or len(text) > 2000 or not _LINK.fullmatch(text):
        raise ValueError(f"{text!r:.80} is not a link; write https://runbooks.example.com/tool-errors")
    return text


def _by(names: object) -> object:
    for name in names if isinstance(names, list) else []:
        if name not in CELL_LABELS:
            raise ValueError(f"{name!r:.80} is not a label; there are {', '.join(CELL_LABELS)}")
    if isinstance(names, list) and len(set(names)) < len(names):
        raise ValueError(f"{', '.join(names)} names a label twice")
    return names


def _every(written_ns: int) -> int:
    if not _MINUTE_NS <= written_ns <= 7 * 1440 * _MINUTE_NS or written_ns % _MINUTE_NS:
        raise ValueError("every is whole minutes, from 1m to 7d; write 24h")
    return written_ns


def _objective(text: object) -> float:
    value = share(text)
    if not 0 < value < 1:
        raise ValueError(f"{text!r:.80} is not an objective, which is more than 0% and less than 100%; write 99.5%")
    return value


def _season(text: object) -> str:
    if text not in SEASONS:
        raise ValueError(f"{text!r:.80} is not one of {', '.join(SEASONS)}; write season: week")
    return str(text)


def _spans(written: object) -> object:
    names = written if isinstance(written, (list, tuple)) and written else [written]
    for name in names:
        if not isinstance(name, str) or name not in SPANS:
            raise ValueError(f"{name!r:.80} is not one of {', '.join(SPANS)}; write windows: [1h, 6h]")
    return tuple(dict.fromkeys(str(name) for name in names))


WRITTEN = "x-written"
"""Marks a schema that is of what people write, not of what it is read as."""


def written(**schema: object) -> WithJsonSchema:
    """The JSON Schema of what people write."""
    return WithJsonSchema({WRITTEN: True, **schema})


def _text_of(pattern: str, **more: object) -> WithJsonSchema:
    return written(type="string", pattern=f"^(?:{pattern})$", **more)


def _one_of(*words: str) -> dict[str, object]:
    return {"type": "string", "enum": list(words)}


_NUMBER = r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_PART = rf"{_NUMBER}\s*x(?:\s+at\s+p95)?|\+?{_NUMBER}\s*pp"
_SPAN = "".join(f"(?:[0-9]+{unit})?" for unit in ("y", "w", "d", "h", "m", "s", "ms"))
_DURATION: dict[str, object] = {"type": "string", "pattern": f"^(?:{_SPAN}|0)$", "minLength": 1, "maxLength": 40}
_AS_NUMBER: dict[str, object] = {"type": "number", "minimum": 0, "exclusiveMaximum": 1e12}
_LEVEL = _AS_NUMBER, {"type": "string", "pattern": rf"^(?:\$?{_NUMBER}%?|{_NUMBER}m?s|{_SPAN})$", "minLength": 1}
SPANS = {name: ticks for ticks, name in WINDOW_NAMES.items()}
"""Windows that an objective may be looked at over, minutes each."""
Name = Annotated[str, BeforeValidator(_name), _text_of(_NAME.pattern)]
Text = Annotated[str, Field(max_length=1000)]
Selection = Annotated[
    Matchers,
    BeforeValidator(parse_matchers),
    written(
        anyOf=[
            {"type": "string"},
            {"type": "object", "propertyNames": _one_of(*CELL_LABELS), "additionalProperties": {"type": "string"}},
        ]
    ),
]
EffectWritten = Annotated[Effect, _text_of(rf"(?:{_PART})(?: and (?:{_PART}))?(?: of the mix)?")]
EffectText = Annotated[EffectWritten, BeforeValidator(lambda text: text if isinstance(text, Effect) else effect(text))]
DurationNs = Annotated[int, BeforeValidator(duration_ns), written(anyOf=[_DURATION, {"const": 0}])]
BudgetWritten = Annotated[float, _text_of(rf"{_NUMBER}\s*/\s*(?:day|week|month|year)")]
BudgetText = Annotated[BudgetWritten, BeforeValidator(budget_per_week)]
LimitText = Annotated[float, written(anyOf=list(_LEVEL))]
LimitUnread = Annotated[float | str | int, written(anyOf=list(_LEVEL))]
"""Limits; the rule reads them, as their unit is the signal's."""
LabelNames = Annotated[
    Annotated[tuple[str, ...], Field(strict=False)],
    BeforeValidator(_by),
    written(type="array", items=_one_of(*CELL_LABELS), uniqueItems=True),
]
DetectorWord = Annotated[str, BeforeValidator(_detector), written(**_one_of(*words()))]
SeverityWord = Annotated[Severity, BeforeValidator(_severity), written(**_one_of(*Severity))]
FixedLabels = Annotated[
    Labels,
    BeforeValidator(_labels),
    written(
        type="object",
        propertyNames={"pattern": f"^{_NAME.pattern}$", "not": {"enum": list(GROUP_LABELS)}},
        additionalProperties={"type": "string", "maxLength": 200},
    ),
]
ExpireAfterNs = Annotated[DurationNs, AfterValidator(_expire_after)]
EveryNs = Annotated[DurationNs, AfterValidator(_every)]
Objective = Annotated[
    float,
    BeforeValidator(_objective),
    written(
        anyOf=[
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            {"type": "string", "pattern": r"^0*(?:[0-9]{1,2}(?:\.[0-9]+)?|\.[0-9]+)%$"},
        ]
    ),
]
Spans = Annotated[
    Annotated[tuple[str, ...], Field(strict=False)],
    BeforeValidator(_spans),
    written(anyOf=[_one_of(*SPANS), {"type": "array", "items": _one_of(*SPANS), "minItems": 1}]),
]
Season = Annotated[str, BeforeValidator(_season), written(**_one_of(*SEASONS))]
Link = Annotated[str, BeforeValidator(_url), _text_of(_LINK.pattern, maxLength=2000)]


SignalWord = Annotated[str, written(**_one_of(*SIGNALS))]


def signal_word(text: object) -> str:
    """Take the word of a signal that there is."""
    if isinstance(text, str) and text in SIGNALS:
        return text
    raise ValueError(f"{text!r:.80} is not one of {', '.join(SIGNALS)}")


class Written(BaseModel):
    """What is common to all that stands in a file: unknown keys are errors, input is never echoed by pydantic."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)


def _template(text: str) -> str:
    template(text, None)
    return text


Template = Annotated[Text, AfterValidator(_template)]


class Annotations(Written):
    """Words for people. `summary` is the page's title and takes placeholders."""

    summary: Template = ""
    description: Template = ""
    runbook: Link = ""
