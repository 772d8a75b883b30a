"""Outcome ratios against the Dirichlet-multinomial itself."""

import numpy as np
import pytest
from scipy.stats import dirichlet_multinomial

from detectors import outcomes
from detectors.core.columns import OUTCOMES
from detectors.core.contract import Terms
from detectors.core.count_signal import Counted
from detectors.core.rows import resize
from tests.detectors.ticks import MIDNIGHT, Watching, entries, tick

K = len(OUTCOMES)


def test_ratios_are_dirichlet_multinomial() -> None:
    """Every drop and target: log-likelihood of the moved mix less that of the null."""
    rng = np.random.default_rng(5)
    signal = outcomes.Outcomes(0.10)
    resize(signal.baseline, 1)
    null = np.array([0.78, 0.11, 0.06, 0.04, 0.01])
    signal.baseline.null[0] = null
    rho = 0.01
    x = rng.multinomial(60, null).astype(float)
    ratios = signal.ratios(
        Counted(0, np.zeros(1, np.int32), np.array([60.0]), x[None], np.empty((1, 0))), 3, np.array([[rho]])
    )[0]

    def log_likelihood(mix: np.ndarray) -> float:
        return float(dirichlet_multinomial.logpmf(x.astype(int), mix * (1 / rho - 1), np.array(60)))

    for d, drop in enumerate(outcomes.DROPS):
        lost = min(drop, 0.9 * null[0])
        for g in range(K):
            mix = null.copy()
            mix[0] -= lost
            if g:
                mix[g] += lost
            else:
                mix[1:] *= 1 + lost / (1 - null[0])
            np.testing.assert_allclose(ratios[d * K + g], log_likelihood(mix) - log_likelihood(null), atol=1e-8)


def test_a_drift_of_the_good_share_pages_and_recovers() -> None:
    """80% to 60% at one session a second pages within half an hour, once, and closes after it is over."""
    rng = np.random.default_rng(11)
    detector, watching = outcomes.build(Terms(1.0, None, 0.10)), Watching(4)
    good, bad = [0.80, 0.10, 0.06, 0.03, 0.01], [0.60, 0.20, 0.12, 0.07, 0.01]
    begin, end = 4 * 1440 + 600, 4 * 1440 + 720
    rows = np.arange(1, 4)
    for t in range(5 * 1440):
        mixes = [good, bad if begin <= t < end else good, good]
        x = np.stack([rng.multinomial(rng.poisson(60), mix) for mix in mixes])
        n = x.sum(1)
        watching.judge(detector, tick(MIDNIGHT + t, rows, n, outcome=entries(rows, x)), MIDNIGHT + t)
    assert [row for row, _ in watching.pages] == [2]
    (_, paged), (_, closed) = watching.pages[0], watching.closed[0]
    assert begin < paged - MIDNIGHT < begin + 30
    assert end < closed - MIDNIGHT < end + 120


def drifted(
    after: list[float], names: tuple[str, ...] = OUTCOMES, goods: int = 1, before: list[float] | None = None
) -> tuple[Watching, str]:
    """Four days of one mix and four hours of another, half a session a second: the alerts, and what the first says."""
    rng, rows = np.random.default_rng(4), np.array([0])
    detector, watching = outcomes.build(Terms(1.0, None, 0.10, outcomes=names, goods=goods)), Watching(1)
    usual = before or [0.60, 0.05, 0.30, 0.05, 0.0]
    said = ""
    for t in range(4 * 1440 + 240):
        x = rng.multinomial(rng.poisson(30), after if t >= 4 * 1440 else usual)[None]
        ticked = tick(MIDNIGHT + t, rows, x.sum(1), outcome=entries(rows, x))
        watching.judge(detector, ticked, MIDNIGHT + t)
        said = said or next((one.finding.detail for one in watching.alerts.values() if one.finding), "")
    return watching, said


def test_a_page_says_which_classes_moved_to_which() -> None:
    """Though the good share is what it was."""
    watching, said = drifted([0.60, 0.30, 0.05, 0.05, 0.0])
    assert len(watching.pages) == 1
    (grew, before, now), (fell, was, level) = [
        (name, float(a.rstrip("%")), float(b.rstrip("%")))
        for name, a, _, b in (part.split(" ") for part in said.split(", ") if part.split(" ")[0] != "resolved")
    ][:2]
    assert (grew, fell) == ("escalated", "abandoned")
    assert abs(before - 5) < 2 and abs(now - 30) < 10 and abs(was - 30) < 3 and level < 20


@pytest.mark.parametrize(
    "after",
    [
        [0.0, 0.05, 0.30, 0.05, 0.60],  # The good word is another now,
        [0.60, 0.0, 0.30, 0.05, 0.05],  # a bad one is,
        [0.0, 0.0, 0.0, 0.0, 1.0],  # all are,
        [0.30, 0.05, 0.30, 0.05, 0.30],  # half of the senders were deployed.
    ],
    ids=["good", "bad", "all", "half"],
)
def test_a_word_that_no_table_knows_never_pages(after: list[float]) -> None:
    """Nor does the baseline learn of it: once the word is known again nothing has changed."""
    watching, _ = drifted(after)
    assert not watching.pages
    rng, rows, detector = np.random.default_rng(4), np.array([0]), outcomes.build(Terms(1.0, None, 0.10))
    back, usual = Watching(1), [0.60, 0.05, 0.30, 0.05, 0.0]
    for t in range(8 * 1440):
        x = rng.multinomial(rng.poisson(30), after if 4 * 1440 <= t < 7 * 1440 else usual)[None]
        back.judge(detector, tick(MIDNIGHT + t, rows, x.sum(1), outcome=entries(rows, x)), MIDNIGHT + t)
    assert not back.pages


def test_any_number_of_classes_some_of_them_good() -> None:
    """Sessions that move from one good class to another are as good; those that end badly page, by their own names."""
    names = ("contained", "resolved", "breached", "escalated", "unmapped")
    usual = [0.40, 0.40, 0.05, 0.15, 0.0]
    assert not drifted([0.10, 0.70, 0.05, 0.15, 0.0], names, 2, usual)[0].pages
    watching, said = drifted([0.25, 0.25, 0.35, 0.15, 0.0], names, 2, usual)
    assert len(watching.pages) == 1 and said.startswith("breached 5") and "good 80% to" in said
