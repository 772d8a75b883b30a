"""What a running daemon has seen of rules: which match nothing, cannot keep a budget, or ask for what noise hides."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from alertrules.parse import Problem, RuleSet

Explain = Callable[[str], Mapping[str, Any] | None]
"""What the daemon says of a rule by its name (`service.reports.explain.explained`); None where it has no such rule."""
SERIES_MAX = 3


def seen(rules: RuleSet, explain: Explain) -> Iterator[Problem]:
    """What telemetry shows to be odd about these rules, each where it stands."""
    for rule in rules.rules:
        told = explain(rule.name)
        said = _odd(rule.by, told) if told else [("alert", "the daemon has no rule of this name yet; reload it")]
        yield from (Problem(*rules.places[rule.name], rule.name, field, text) for field, text in said)


def _odd(by: tuple[str, ...], told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields and what is odd about them."""
    if not told["series"]:
        yield "select", "nothing has matched it so far in the daemon's telemetry; compare it with `tocsin inspect`"
        return
    if told["keeps_budget"] is False:
        yield "budget", told["promise"]
    empty = [name for name in by if not any(name in series["labels"] for series in told["shown"])]
    if empty and told["matching"] == len(told["shown"]):
        yield "by", f"{', '.join(empty)}: empty in all of its series; leave it out"
    for number in told["overrides_unmatched"]:
        yield f"overrides.{number}.match", "no series has matched it so far"
    hidden = [series for series in told["shown"] if series["warnings"]]
    for series in hidden[:SERIES_MAX]:
        labels = ", ".join(f"{name} {value}" for name, value in series["labels"].items()) or "everything"
        yield from (("effect", f"{labels}: {text}") for text in series["warnings"])
    if len(hidden) > SERIES_MAX:
        yield "effect", f"{len(hidden) - SERIES_MAX} more series move by themselves by more than it"
