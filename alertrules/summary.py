"""The summary of a rule: text with a closed set of placeholders, filled in from a finding. Not a template language."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from alertrules.wording import LEVELS, TITLE_LENGTH_MAX, VALUE_LENGTH_MAX, clean, digits, percent, seconds, usd, utc
from detectors.core.columns import Finding


@dataclass(frozen=True)
class Placeholder:
    """`{{ labels.agent }}` or `{{ now | percent }}`."""

    name: str
    filter: str


_PLACEHOLDER = re.compile(r"\{\{([^{\n]*?)\}\}")
_EXPRESSION = re.compile(r"(labels\.([A-Za-z_]\w*)|before|now|count|since)(?:\s*\|\s*(\w+))?", re.ASCII)
_FILTERS = ("percent", "seconds", "usd", "ratio")


def template(text: str, label_names: Collection[str] | None) -> tuple[str | Placeholder, ...]:
    """The pieces of a summary that may name these labels (None: any).

    Raises ValueError with the placeholder that cannot be filled in.
    """
    pieces: list[str | Placeholder] = []
    position = 0
    for found in _PLACEHOLDER.finditer(text):
        expression = _EXPRESSION.fullmatch(found[1].strip())
        if expression is None:
            raise ValueError(
                f'"{found[0]:.60}" is not a placeholder; write {{{{ labels.NAME }}}}, before, now, count or since, '
                f"the numbers with | {', '.join(_FILTERS)}"
            )
        if expression[2] and label_names is not None and expression[2] not in label_names:
            raise ValueError(f'"{found[0]:.60}": the rule has no such label; it has {", ".join(label_names) or "none"}')
        if expression[3] and (expression[3] not in _FILTERS or expression[1] not in ("before", "now", "count")):
            raise ValueError(f'"{found[0]:.60}": write before, now or count with | {", ".join(_FILTERS)}')
        pieces += [text[position : found.start()], Placeholder(expression[1], expression[3] or "")]
        position = found.end()
    rest = text[position:]
    if "{{" in rest or "}}" in rest:
        raise ValueError(f'"{rest:.60}": a placeholder is not closed; write {{{{ now | percent }}}}')
    return (*pieces, rest)


def filled(text: str, labels: Mapping[str, str], finding: Finding) -> str:
    """A summary filled in; a label that the series lacks is empty. Label values are data, never template."""
    pieces = template(text, None)
    shown = (piece if isinstance(piece, str) else _shown(piece, labels, finding) for piece in pieces)
    return clean("".join(shown), TITLE_LENGTH_MAX)


def _shown(placeholder: Placeholder, labels: Mapping[str, str], finding: Finding) -> str:
    if placeholder.name == "since":
        return utc(finding.since_ns)
    if placeholder.name.startswith("labels."):
        return clean(labels.get(placeholder.name.removeprefix("labels."), ""), VALUE_LENGTH_MAX)
    number = {"before": finding.before, "now": finding.now, "count": finding.count}[placeholder.name]
    match placeholder.filter:
        case "percent":
            return percent(number)
        case "seconds":
            return seconds(number)
        case "usd":
            return usd(number)
        case "ratio":
            return f"{digits(number / finding.before if finding.before else math.nan)}x"
    if placeholder.name == "count":
        return "?" if math.isnan(number) else f"{number:,.0f}"
    return LEVELS.get(finding.unit, digits)(number)
