"""What a session costs as a product: calls a session, which models, tokens a call, what kind of tokens, their price.

The change of the product is the sum of one term for each factor: the logarithmic mean Divisia index (Ang, "The LMDI
approach to decomposition analysis", Energy Policy 33, 2005), with each model as a group. It leaves no remainder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alertrules.cause import How, Term
from detectors.core.columns import PROMPT, Entries, Floats
from service.causes.past import Counted

NAMED_FROM = 0.6
"""Part of the change that a factor explains, at least, to be named."""
WORTH = {"fresh": 1.0, "read": 0.1, "written": 1.25}
OUTPUT_WORTH = 4.0
"""What a token costs in fresh input tokens, as price lists mostly have it: it tells a change in kind from one of price.
What a list has otherwise is in the term of the price."""
TINY = 1e-9


@dataclass(frozen=True, eq=False)
class Spent:
    """What one time spent: by model calls, tokens, input tokens, worth of the input, and dollars.

    sessions  or hours, where spend is told by the hour
    """

    sessions: float
    calls: Floats
    tokens: Floats
    input: Floats
    worth: Floats
    dollars: Floats


def spent(sessions: float, of: Counted) -> Spent:
    """What calls spent, one group for each model."""
    groups = len(of.tick.series)
    prompt = _worth(of.tick.prompt, groups)
    told = np.bincount(of.tick.prompt.cell, of.tick.prompt.count, groups)
    prompt = prompt + np.maximum(of.input_tokens - told, 0.0)  # Input of which nobody said what a cache knew.
    return Spent(
        sessions, of.tick.count, of.input_tokens + of.output_tokens, of.input_tokens, prompt, of.tick.cost_usd
    )  # fmt: skip


def _worth(prompt: Entries, groups: int) -> Floats:
    worth = np.array([WORTH[name] for name in PROMPT])
    return np.bincount(prompt.cell, prompt.count * worth[prompt.bucket], groups).astype(float)


def factors(before: Spent, now: Spent) -> Mapping[str, Floats]:
    """(models,) dollars a session that each factor adds to the change, by name; all together they are the change."""
    if not (before.sessions > 0 and now.sessions > 0 and before.calls.sum() > 0 and now.calls.sum() > 0):
        return {}
    usd0, usd1 = before.dollars / before.sessions, now.dollars / now.sessions
    weight = _log_mean(usd0, usd1)
    then, since = _each(before), _each(now)
    found = {}
    for name in then:
        there = (usd0 > 0) & (usd1 > 0)
        # A model that is new, or gone, has no factors of its own then: it is a matter of which models are asked.
        both = there if name not in ("calls a session", "mix of models") else np.ones(len(there), np.bool_)
        found[name] = np.where(both, weight * (np.log(since[name]) - np.log(then[name])), 0.0)
    rest = (usd1 - usd0) - sum(found.values())
    found["mix of models"] = found["mix of models"] + rest
    return found


def _log_mean(one: Floats, other: Floats) -> Floats:
    one, other = np.maximum(one, TINY * max(one.sum(), TINY)), np.maximum(other, TINY * max(other.sum(), TINY))
    alike = np.isclose(one, other, rtol=1e-9)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean: Floats = np.where(alike, one, (other - one) / (np.log(other) - np.log(one)))
    return mean


def _each(of: Spent) -> dict[str, Floats]:
    """The factors of each model's dollars a session."""
    least = 1e-12
    calls = np.maximum(of.calls, least)
    tokens, worth_in = np.maximum(of.tokens, least), np.maximum(of.worth, least)
    output = np.maximum(of.tokens - of.input, 0.0)
    uncached = np.maximum(of.input + OUTPUT_WORTH * output, least)
    worth = np.maximum(worth_in + OUTPUT_WORTH * output, least)
    return {
        "calls a session": np.full(len(calls), of.calls.sum() / of.sessions),
        "mix of models": calls / of.calls.sum(),
        "tokens a call": tokens / calls,
        "output": uncached / tokens,
        "cache": worth / uncached,
        "price": np.maximum(of.dollars, least) / worth,
    }


def named(before: Spent, now: Spent, models: Sequence[str], unit: str = "a session") -> Term | None:
    """The factor that explains most of the change of what a unit costs, as a term; None where none does."""
    found = factors(before, now)
    change = float(sum(each.sum() for each in found.values()))
    if not change:
        return None
    name, parts = max(found.items(), key=lambda one: float(one[1].sum()) / change)
    share = float(parts.sum()) / change
    if share < NAMED_FROM:
        return None
    return _term(name, parts * np.sign(change), share, before, now, models, unit)


def _term(name: str, parts: Floats, share: float, before: Spent, now: Spent, models: Sequence[str], unit: str) -> Term:
    most = int(np.argmax(parts))
    then, since = _each(before), _each(now)
    match name:
        case "calls a session":
            return Term(How.FACTOR, f"model calls {unit}", "", float(then[name][0]), float(since[name][0]), "", share)
        case "mix of models":
            return Term(
                How.MIX, "model", models[most], float(then[name][most]), float(since[name][most]), "share", share
            )  # fmt: skip
        case "tokens a call":
            levels = [of.tokens.sum() / of.calls.sum() for of in (before, now)]
            return Term(How.FACTOR, name, "", float(levels[0]), float(levels[1]), "", share)
        case "output":
            levels = [1 - of.input.sum() / max(of.tokens.sum(), TINY) for of in (before, now)]
            return Term(How.FACTOR, "output among the tokens", "", float(levels[0]), float(levels[1]), "share", share)
        case "cache":
            levels = [_cached(of) for of in (before, now)]
            return Term(How.FACTOR, "input from the cache", "", levels[0], levels[1], "share", share)
    price = [1e6 * float(each["price"][most]) for each in (then, since)]
    return Term(How.FACTOR, f"price of {models[most]} a million tokens", "", price[0], price[1], "usd", share)


def _cached(of: Spent) -> float:
    """The share of the input that is read from a cache, as its worth tells it."""
    return float(np.clip((1 - of.worth.sum() / max(of.input.sum(), TINY)) / (1 - WORTH["read"]), 0.0, 1.0))
