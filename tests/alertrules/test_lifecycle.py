"""The alert's life, drawn: one letter a tick."""

import json
import math

import pytest

from alertrules.lifecycle import (
    MUTED_AFTER_NS,
    Alert,
    AlertState,
    Holds,
    Identity,
    Transition,
    advance,
    alert_id,
    close,
    mode_of,
    packed,
    unpacked,
)
from detectors.core.columns import TICK_NS, Finding, Mode, Verdict

VERDICTS = {
    "_": Verdict.NOT_JUDGED,
    ".": Verdict.QUIET,
    "!": Verdict.ANOMALOUS,
    "v": Verdict.RECOVERED,
    "^": Verdict.RELAPSED,
}
STATES = {None: ".", "pending": "p", "firing": "F", "recovering": "r", "muted": "m"}
WHO = Identity("ToolErrorsUp", (("agent", "support"), ("tenant", "acme")), "page")
FINDING = Finding("ratio", 0.01, 0.1, 5 * TICK_NS, 400.0, math.nan, 12.0, "")


def drawn(verdicts: str, pending: int = 0, recovering: int = 0) -> tuple[str, list[Transition]]:
    """The states after each tick, and every step taken. A `~` is one tick a day later, not judged."""
    alert: Alert | None = None
    states, at_ns = "", 1000 * TICK_NS
    steps: list[Transition] = []
    for letter in verdicts:
        at_ns += TICK_NS if letter != "~" else MUTED_AFTER_NS
        verdict = VERDICTS.get(letter, Verdict.NOT_JUDGED)
        finding = FINDING if letter in "!^" else None
        alert, moved = advance(alert, verdict, finding, at_ns, Holds(pending * TICK_NS, recovering * TICK_NS), WHO)
        states += STATES[alert.state.value if alert else None]
        steps += moved
    return states, steps


@pytest.mark.parametrize(
    ("rule", "verdicts", "states", "holds"),
    [
        ("without `for` the first anomalous tick pages", ".!..", ".FFF", (0, 2)),
        ("`for` waits through anomalous ticks", "!!!", "ppF", (2, 2)),
        ("a quiet tick forgets what is pending", "!.!!", "p.pp", (2, 2)),
        ("only an anomalous tick ends `for`", "!__!", "pppF", (2, 2)),
        ("quiet ticks do not resolve: the detector says when it has gone back", "!.....", "FFFFFF", (0, 2)),
        ("a page closes once recovered for `keep_firing_for`", "!v...", "Frrr.", (0, 3)),
        ("the clock of `keep_firing_for` runs on ticks that are not judged", "!v___", "Frrr.", (0, 3)),
        ("a relapse is the same alert, and starts the clock again", "!v.^v...", "FrrFrrr.", (0, 3)),
        ("a relapse on the very tick that would close it wins", "!v..^", "FrrrF", (0, 3)),
        ("without `keep_firing_for` recovery closes at once", "!v!", "F.F", (0, 0)),
        ("what is not judged holds everything", "!____", "FFFFF", (0, 3)),
        ("after a day the alert is muted, judged or not", "!~.", "Fmm", (0, 3)),
        ("a muted alert cannot page", "!~!^!", "Fmmmm", (0, 3)),
        ("a muted alert can only close", "!~v!", "Fm.F", (0, 3)),
        ("recovery and a long gap close it before the day is up", "!v~", "Fr.", (0, 3)),
        ("nothing to say, nothing to keep", "_.v^", "....", (0, 0)),
    ],
)
def test_states(rule: str, verdicts: str, states: str, holds: tuple[int, int]) -> None:
    """Each rule of the alert's life, drawn as verdicts and states."""
    assert drawn(verdicts, *holds)[0] == states, rule


def test_one_episode_has_one_id() -> None:
    """From the page to its close, relapses included; the next page has another."""
    steps = drawn("!v^v..!", recovering=2)[1]
    ids = [step.alert_id for step in steps]
    assert len(set(ids[:5])) == 1
    assert ids[5] != ids[0]
    assert {len(one) for one in ids} == {64}


def test_without_for_nobody_sees_it_pending() -> None:
    """Inactive to firing is one step when there is nothing to wait for, and two when there is."""
    assert [(step.before, step.after) for step in drawn("!")[1]] == [(AlertState.INACTIVE, AlertState.FIRING)]
    steps = drawn("!!", pending=1)[1]
    assert [step.after for step in steps] == [AlertState.PENDING, AlertState.FIRING]
    assert (steps[0].alert_id, steps[0].fired_ns) == ("", 0)


def test_the_clocks_come_after_the_verdict() -> None:
    """Recovered on the tick that ends the day: it is recovering first, and then muted."""
    steps = drawn("!" + "." * 1439 + "v", recovering=30)[1]
    assert [step.after for step in steps] == [AlertState.FIRING, AlertState.RECOVERING, AlertState.MUTED]


def test_modes() -> None:
    """The detector asks of a pending series what it asks of any other."""
    modes = {state: mode_of(Alert(state, "", 0, 0, None)) for state in AlertState}
    assert [modes[AlertState.PENDING], mode_of(None)] == [Mode.WATCHED, Mode.WATCHED]
    assert [modes[AlertState.FIRING], modes[AlertState.RECOVERING], modes[AlertState.MUTED]] == [1, 2, 3]


def test_the_id_is_of_the_facts() -> None:
    """The order of labels means nothing; the tick does."""
    turned = Identity(WHO.rule, WHO.labels[::-1], WHO.severity)
    assert alert_id(WHO, 60) == alert_id(turned, 60) != alert_id(WHO, 120)


def test_an_alert_survives_json() -> None:
    """Saved and loaded it is equal, NaN evidence included."""
    alert = advance(None, Verdict.ANOMALOUS, FINDING, 7 * TICK_NS, Holds(0, 0), WHO)[0]
    assert alert is not None
    loaded = unpacked(json.loads(json.dumps(packed(alert), allow_nan=False)))
    assert loaded.finding is not None and math.isnan(loaded.finding.log_evidence)
    assert packed(loaded) == packed(alert)


def test_a_series_that_is_gone_is_closed() -> None:
    """Its alert ends with the same id, so that its page is resolved."""
    alert = advance(None, Verdict.ANOMALOUS, FINDING, 7 * TICK_NS, Holds(0, 0), WHO)[0]
    assert alert is not None
    step = close(alert, 9 * TICK_NS, WHO)
    assert (step.before, step.after, step.alert_id) == (AlertState.FIRING, AlertState.INACTIVE, alert.alert_id)
