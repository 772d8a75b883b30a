"""Drift of what model calls end with: it is found, told by its name, and nothing of other operations is among it."""

import numpy as np

from detectors import endings
from detectors.core.columns import ENDINGS, Tick
from detectors.core.contract import Terms
from tests.detectors.ticks import EMPTY, MIDNIGHT, Watching, entries, tick

USUAL = {"stop": 0.70, "tool_calls": 0.25, "length": 0.02, "rate_limit": 0.02, "error": 0.01}
TERMS = Terms(1.0, None, 0.10)


def mixed(rng: np.random.Generator, t: int, mix: dict[str, float]) -> Tick:
    """A minute of half a call a second; and a guardrail's verdicts, which are of another kind."""
    shares = np.array([mix.get(name, 0.0) for name in ENDINGS])
    x = rng.multinomial(rng.poisson(30) + 1, shares / shares.sum())
    n = np.array([x.sum()])
    x[ENDINGS.index("blocked")] = 20
    plain = tick(MIDNIGHT + t, np.array([0]), n)
    return Tick(**{**vars(plain), "ending": entries(np.array([0]), x[None]), "outcome": EMPTY})


def watched(after: dict[str, float]) -> tuple[Watching, str]:
    """Four days as usual, then four hours of another mix: the alerts, and what the first one says."""
    rng, detector, watching, said = np.random.default_rng(5), endings.build(TERMS), Watching(1), ""
    for t in range(4 * 1440 + 240):
        watching.judge(detector, mixed(rng, t, after if t >= 4 * 1440 else USUAL), MIDNIGHT + t)
        said = said or next((one.finding.detail for one in watching.alerts.values() if one.finding), "")
    return watching, said


def test_answers_that_are_cut_off_page_by_their_name() -> None:
    """From 2% to 20%, though no call failed."""
    watching, said = watched(USUAL | {"length": 0.20, "stop": 0.52})
    assert [row for row, _ in watching.pages] == [0]
    assert said.startswith("length 1.9% to 17%, good 95% to ")


def test_more_tools_and_fewer_stops_are_as_good() -> None:
    """Both are good ends: a mix of them is no page."""
    assert not watched(USUAL | {"stop": 0.35, "tool_calls": 0.60})[0].pages


def test_nothing_but_the_endings_of_models_is_counted() -> None:
    """A guardrail that blocks is not a call of a model that ended badly."""
    entries_of = endings.of_models(mixed(np.random.default_rng(1), 0, USUAL))
    assert set(entries_of.bucket.tolist()) <= set(range(ENDINGS.index("passed")))
