"""The histograms' likelihood ratios, against plain arithmetic."""

import math

import numpy as np
import pytest

from detectors.core import shape
from detectors.core.columns import Floats
from detectors.core.histogram import BELOW, STEP, WIDTH, shifted


def bell(spread: float) -> Floats:
    """Shares of a lognormal about the window's median."""
    p = np.exp(-0.5 * ((np.arange(WIDTH) - BELOW) * STEP / spread) ** 2)
    shares: Floats = p / p.sum()
    return shares


def moved(p: list[float], by: float) -> list[float]:
    """One histogram of data times e**by, bucket by bucket."""
    last = len(p) - 1
    cdf: list[float] = np.cumsum(p).tolist()

    def below(i: int) -> float:
        """CDF at the upper edge of bucket i."""
        return cdf[min(i, last - 1)] if i >= 0 else cdf[0] * math.exp(2 * i * STEP)

    k = math.floor(by / STEP)
    f = by / STEP - k
    out, before = [], 0.0
    for i in range(last):
        c = max((1 - f) * below(i - k) + f * below(i - k - 1), before)
        out.append(c - before)
        before = c
    return [*out, 1 - before]


@pytest.mark.parametrize("by", [-2.0, -0.31, 0.0, 0.05, 0.4, 1.1, 3.0])
def test_shifting_moves_the_distribution(by: float) -> None:
    """Rows are shifted each by its own amount, as one histogram at a time would be."""
    p = np.stack([bell(0.4), bell(1.2)])
    both = shifted(p, np.array([by, -by]))
    np.testing.assert_allclose(both[0], moved(p[0].tolist(), by), atol=1e-12)
    np.testing.assert_allclose(both[1], moved(p[1].tolist(), -by), atol=1e-12)


def test_under_no_change_a_session_is_expected_to_say_nothing() -> None:
    """E[ratio] <= 1 under the null for every spread and hour shift, which is what the budget rests on."""
    for spread in np.linspace(0.3, 1.5, 20):
        table, _ = shape.table(bell(spread)[None], np.array([1e4]), np.zeros(1))
        for by in (-1.5, -0.3, 0.0, 0.5, 1.2):
            each = np.eye(WIDTH)
            rows, shift = np.zeros(WIDTH, np.int32), np.full(WIDTH, by)
            ratios = np.exp(shape.ratios(each, rows, shift, table))
            expected = shifted(bell(spread)[None], np.array([by * STEP]))[0] @ ratios
            assert expected.max() <= 1.0


def test_a_table_is_its_formula() -> None:
    """ln((0.98 alternative + 0.02 null) / null), rounded down to 1/2048 nat; a tail's null knows the wobble, 0.1."""
    p, n = bell(0.75), 5000.0
    x = np.arange(WIDTH) * STEP
    spread = math.sqrt(float((p * (x - float(p @ x)) ** 2).sum()))
    error, unseen = 1.5 * spread / math.sqrt(n), 0.003 + 10 / n
    tail = unseen * np.array(moved(p.tolist(), math.log(3))) + 1e-6
    steady, swayed = (
        (1 - unseen) * np.array(moved(p.tolist(), math.log(1.05) + error + by)) + tail for by in (0.0, 0.15)
    )
    steady, swayed = steady / steady.sum(), swayed / swayed.sum()
    twice = np.array(moved(p.tolist(), math.log(2) + error))
    grown = 0.9 * p + 0.1 * np.array(moved(p.tolist(), math.log(4)))
    shift, tails = (np.floor(2048 * np.log((0.98 * a + 0.02 * b) / b)) for a, b in ((twice, steady), (grown, swayed)))
    table, _ = shape.table(p[None], np.array([n]), np.array([0.1]))
    np.testing.assert_array_equal(table[0, :, 2], shift)
    np.testing.assert_array_equal(table[0, :, 4], tails)


def test_ratios_add_up_over_sessions() -> None:
    """A tick's ratio is the sum of its sessions' own, whatever other series are in the tick."""
    rng = np.random.default_rng(3)
    table, _ = shape.table(np.stack([bell(0.5), bell(1.0)]), np.array([3000.0, 3000.0]), np.zeros(2))
    counts = rng.integers(0, 4, (2, WIDTH)).astype(float)
    shift = np.array([0.4, -1.7])
    together = shape.ratios(counts, np.array([0, 1], np.int32), shift, table)
    for row in (0, 1):
        alone = sum(
            counts[row, b] * shape.ratios(np.eye(WIDTH)[[b]], np.array([row], np.int32), shift[[row]], table)[0]
            for b in range(WIDTH)
        )
        np.testing.assert_allclose(together[row], alone, atol=1e-9)
