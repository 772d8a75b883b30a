"""From OTLP bodies to pages, through a running daemon: the detectors that the demo does not show, prices, sampling."""

import asyncio
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from service.demo.standins import Incident
from tests.service.ingest.wire import EPOCH_S, Sent, body, chat
from tests.service.replay import DAY_S, HOUR_S, MINUTE_S, MONDAY_S, OnCall, by_hour, replayed

RED, GREEN = "#d92d20", "#12b76a"
DOLLARS_A_MILLION = 2.0
PRICES = f"""
prices:
  - {{model: in-house-free, input: 0, output: 0}}
  - {{model: in-house-*, input: 0.25, output: 4, above: {{200000: {{input: {DOLLARS_A_MILLION}}}}}}}
"""


def calls(
    rng: random.Random, agent: str, from_s: float, until_s: float, every_s: float,
    seconds: float = 1.0, model: str = "gpt-4o-mini", tokens: int = 40_000,
) -> Iterator[Sent]:  # fmt: skip
    """One agent's model calls at random times, `every_s` apart in the mean, all of their tokens in the prompt."""
    at_s = from_s + rng.expovariate(1 / every_s)
    while at_s < until_s:
        took_s = seconds * rng.lognormvariate(0, 0.2)
        call = chat(rng.getrandbits(127) + 1, 1, at_s - took_s, at_s, gen_ai__agent__name=agent)
        usage = {"gen_ai.usage.input_tokens": tokens, "gen_ai.usage.output_tokens": 0}
        yield replace(call, attributes={**call.attributes, **usage, "gen_ai.request.model": model})
        at_s += rng.expovariate(1 / every_s)


def of_calls(rule: str) -> str:
    """A file with this rule for the agents' model calls."""
    fields = "select: {operation: llm}, by: [agent], keep_firing_for: 10m"
    return f"groups: [{{name: replay, rules: [{{{rule}, {fields}}}]}}]\n"


def told(directory: Path, rule: str, spans: Iterable[Sent], route: str = "", **settings: str) -> OnCall:
    """What on-call hears of these spans by one rule for the agents' model calls; every span was taken."""
    oncall = asyncio.run(replayed(directory, of_calls(rule) + route, by_hour(spans), **settings))
    assert not [key for key, count in oncall.metrics.items() if key[0] == "tocsin_dropped_total" and count]
    return oncall


def the_only(oncall: OnCall) -> tuple[Incident, str]:
    """The one incident there was, told once to both and resolved at both, and its line."""
    (incident,) = oncall.incidents
    assert (incident.severity, incident.triggers, incident.resolved_s is not None) == ("critical", 1, True)
    fired, resolved = oncall.posts
    assert (fired.color, resolved.color) == (RED, GREEN)
    assert f"Firing: {incident.summary}\n" in fired.text and f"Resolved: {incident.summary}\n" in resolved.text
    (line,) = incident.details["changed"]
    assert line in fired.text
    return incident, line


def began_s(incident: Incident) -> float:
    """When it says it began, as a second of the test."""
    return datetime.fromisoformat(incident.details["began"]).timestamp() - EPOCH_S


def number(pattern: str, line: str) -> float:
    found = re.search(pattern, line)
    assert found, line
    return float(found[1].replace(",", ""))


def test_burn(tmp_path: Path) -> None:
    """Half an hour of huge prompts on the second day: a page by list prices, and its end once the pace is back."""
    rng = random.Random(1)
    spike_s, end_s = MONDAY_S + DAY_S, MONDAY_S + 1.4 * DAY_S
    huge = list(calls(rng, "loop", spike_s, spike_s + 1800, 60, tokens=2_000_000))
    usual = [span for name in ("steady", "loop") for span in calls(rng, name, MONDAY_S, end_s, 300)]
    oncall = told(tmp_path, "alert: Dear, detector: burn, above: $100", [*usual, *huge])
    incident, line = the_only(oncall)
    assert incident.summary.startswith("Dear: agent loop: cost of the month at this pace $") and "(limit $100)" in line
    assert number(r"at this pace \$(\S+)", line) > 100
    assert 0 < number(r"\$(\S+) spent so far this month", line) < 0.30 * len(huge)
    assert spike_s - HOUR_S < began_s(incident) < spike_s
    assert oncall.metrics["tocsin_priced_calls_total", "priced"] >= len(usual)


def test_absence(tmp_path: Path) -> None:
    """An agent that falls silent after eight days is missed from its last call on; its next one ends the page."""
    rng = random.Random(1)
    gone_s = MONDAY_S + 8 * DAY_S + 8 * HOUR_S
    back_s, end_s = gone_s + 6 * HOUR_S, gone_s + 7 * HOUR_S
    before = list(calls(rng, "gone", MONDAY_S, gone_s, 300))
    after = calls(rng, "gone", back_s, end_s, 300)
    steady = calls(rng, "steady", MONDAY_S, end_s, 300)
    incident, line = the_only(
        told(tmp_path, "alert: Gone, detector: absence, budget: 1/week", [*before, *after, *steady])
    )
    assert incident.summary.startswith("Gone: agent gone: calls a minute ")
    assert began_s(incident) - MONDAY_S == (before[-1].end_s - MONDAY_S) // MINUTE_S * MINUTE_S + MINUTE_S
    assert number(r"no call for (\d+) minutes", line) < (back_s - gone_s) / MINUTE_S
    assert number(r"in which (\d+) would have come", line) >= 12 and ", over" not in line


@pytest.mark.parametrize(
    ("detector", "slow_s", "after_s"), [("level", 1800, 3 * HOUR_S), ("river.ADWIN", 9 * HOUR_S, 0)]
)
def test_a_plain_number(tmp_path: Path, detector: str, slow_s: float, after_s: float) -> None:
    """Calls that take five times as long after a day: one page with the slow value. `level` closes it once
    they are as usual again, a drift detector once they have stayed as they are."""
    rng = random.Random(1)
    from_s = MONDAY_S + DAY_S
    until_s = from_s + slow_s
    rule = (
        f"alert: Slow, detector: {detector}, signal: latency_p50, window: 5m, budget: 1/week, "
        "annotations: {summary: '{{ labels.agent }} takes {{ now | seconds }}'}"
    )
    spans = [
        *calls(rng, "steady", MONDAY_S, until_s + after_s, 60),
        *calls(rng, "slow", MONDAY_S, from_s, 60),
        *calls(rng, "slow", from_s + 5, until_s, 60, seconds=5.0),
        *calls(rng, "slow", until_s, until_s + after_s, 60),
    ]
    incident, line = the_only(told(tmp_path, rule, spans))
    assert 4 < number(r"^slow takes (\S+) s$", incident.summary) < 6
    assert 0.8 < number(r"\(expected (\S+)", line) / (1000 if " ms)" in line else 1) < 1.3
    assert from_s <= began_s(incident) < until_s


def test_own_prices(tmp_path: Path) -> None:
    """What only the operator knows to price, by its size too, is money: to the cent on the page, and in the counts."""
    rng = random.Random(1)
    (tmp_path / "prices.yaml").write_text(PRICES)
    end_s = MONDAY_S + 2 * HOUR_S

    def of(agent: str, model: str) -> list[Sent]:
        return list(calls(rng, agent, MONDAY_S, end_s, 60, model=model, tokens=500_000))

    dear, free, unknown = of("dear", "In-House-7"), of("free", "in-house-free"), of("unknown", "elsewhere-7")
    rule = "alert: Dear, detector: burn, above: $2000"
    oncall = told(tmp_path, rule, [*dear, *free, *unknown], PRICES=str(tmp_path / "prices.yaml"))
    ((page, _),) = ((one, one.details["changed"][0]) for one in oncall.incidents)
    assert page.summary.startswith("Dear: agent dear: cost of the month at this pace $")
    spent = number(r"\$(\S+) spent so far this month", page.details["changed"][0])
    assert spent % (DOLLARS_A_MILLION / 2) == 0 and 0 < spent <= len(dear)
    sources = {key[1]: count for key, count in oncall.metrics.items() if key[0] == "tocsin_priced_calls_total"}
    assert 0 < sources["override"] <= len(dear) and 0 < sources["free"] <= len(free)
    assert 0 < sources["unpriced"] <= len(unknown) and sources["priced"] == sources["span"] == 0


def test_sampling(tmp_path: Path) -> None:
    """All failed traces and a tenth of the rest are kept: three in ten of what comes is 4% of what was, and no page."""
    kept: list[Sent] = []
    for minute in range(10):
        for agent, failed, rest in (("well", 3, 7), ("failing", 16, 4)):
            for i in range(failed + rest):
                at_s = MONDAY_S + minute * MINUTE_S + i
                call = chat(len(kept) + 1, 1, at_s, at_s + 1, gen_ai__agent__name=agent)
                kept.append(replace(call, failed=i < failed))
    rule = "alert: Fails, detector: static, signal: error_ratio, above: 20%, window: 2m"
    oncall = told(tmp_path, rule, kept, SAMPLING="errors=1 rest=0.1")
    (incident,) = oncall.incidents
    (line,) = incident.details["changed"]
    assert incident.summary == "Fails: agent failing: failed 28.6%, limit 20%"
    assert number(r"failed (\S+)% \(limit 20%\)", line) == 28.6  # 16 failed and 4 ok, which stand for 40.
    assert number(r"over (\d+) calls", line) == 56
    counted_s = kept[-1].end_s // 10 * 10 - MINUTE_S  # What ended later waits for what may come late.
    weighted = [call for call in kept if not call.failed and call.end_s < counted_s]
    assert oncall.metrics["tocsin_weighted_calls_total",] == len(weighted)


def test_recorded_policies(tmp_path: Path) -> None:
    """The same by policies that the Collector recorded: 16 failed and 4 ok, which stand for 40."""
    rule = "alert: Fails, detector: static, signal: error_ratio, above: 20%, window: 2m"
    bodies = []
    for minute in range(10):
        at_s = MONDAY_S + minute * MINUTE_S
        sent = [chat(100 * minute + i + 1, 1, at_s + i, at_s + i + 1, gen_ai__agent__name="failing") for i in range(20)]
        bodies.append(body(*(replace(call, failed=True) for call in sent[:16]), policy="keep errors"))
        bodies.append(body(*sent[16:], policy="sample 10%"))
    kept = "keep errors=1, sample 10%=0.1"
    (incident,) = asyncio.run(replayed(tmp_path, of_calls(rule), bodies, SAMPLING_POLICIES=kept)).incidents
    (line,) = incident.details["changed"]
    assert number(r"failed (\S+)% \(limit 20%\)", line) == 28.6
    assert number(r"over (\d+) calls", line) == 56


def test_a_group_that_waits(tmp_path: Path) -> None:
    """Two agents that begin to fail four minutes apart are one page, once the group has waited for both."""
    failing: list[Sent] = []
    for minute in range(40):
        for agent, first in (("early", 10), ("late", 14)):
            at_s = MONDAY_S + minute * MINUTE_S
            call = chat(len(failing) + 1, 1, at_s, at_s + 1, gen_ai__agent__name=agent)
            failing.append(replace(call, failed=first <= minute < 20))
    rule = "alert: Fails, detector: static, signal: error_ratio, above: 20%, window: 1m"
    incident, *_ = told(tmp_path, rule, failing, "route: {group_by: [alert], group_wait: 5m}\n").incidents
    assert (incident.triggers, incident.summary) == (1, "Fails: agent early: failed 100%, limit 20% (and 1 more)")
    assert [line.split(":")[0] for line in incident.details["changed"]] == ["agent early", "agent late"]
    assert incident.resolved_s is not None
