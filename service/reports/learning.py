"""Until when rules learn, in words: of one that starts anew, and of a series that is not judged yet."""

from collections.abc import Iterable, Mapping

from alertrules.rules import Rule
from alertrules.wording import digits, utc
from detectors.core.columns import SECOND_NS
from detectors.core.signals import SIGNALS


def anew(rules: Iterable[Rule], names: Iterable[str], now_ns: int) -> str:
    """Rules that start anew, and when each judges at the earliest; empty where there are none."""
    known = {rule.name: rule for rule in rules}
    return "; ".join(_starts(known[name], now_ns) for name in names)


def _starts(rule: Rule, now_ns: int) -> str:
    learns = rule.described.learns
    if learns is None:
        return f"{rule.name} begins anew and judges at once"
    until = utc(learns.until_ns(now_ns, rule.window_ns))
    known = f"{learns.units:g} {_units(rule)} of a series"
    return f"{rule.name} learns anew until {until} at least, and until it knows {known}"


def progress(rule: Rule, gauges: Mapping[str, float | None]) -> str:
    """What is missing until a series is judged by its own baseline, and who lends it one until then; empty where it has
    its own, or nothing was learnt of it yet."""
    learns, until_s, known = rule.described.learns, gauges.get("learning_until"), gauges.get("learning_known")
    if learns is None or until_s is None or known is None:
        return ""
    until, kin = utc(int(until_s) * SECOND_NS), gauges.get("kin")
    missing = f"{digits(known)} of {learns.units:g} {_units(rule)} are known"
    if kin is not None:
        return f"judged early: baseline from {kin:g} kin, until it has its own, from {until} at the earliest; {missing}"
    return f"judged from {until} at the earliest; {missing}"


def _units(rule: Rule) -> str:
    """What judging counts."""
    if rule.described.takes_signal:
        subject = SIGNALS[rule.signal or ""].subject
        return f"values of {subject}"
    if rule.described.of_pipeline:
        return "minutes with telemetry"
    return "sessions" if rule.counts_sessions else "calls"
