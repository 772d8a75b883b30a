"""Every River model under the adapter: held to its budget on noise, not blind, fed again after a restart."""

import numpy as np
import pytest

from detectors.core.descriptor import words
from detectors.river import MODELS, River

STEP_S = 900.0
WEEKS = 6
PLAIN = sorted(set(MODELS) - {"LocalOutlierFactor"})  # Tens of milliseconds a value: only made and fed below.


def noise(seed: int, weeks: float = WEEKS) -> np.ndarray:
    """Steps of a series with a heavy tail and nothing else."""
    return 50 + np.random.default_rng(seed).standard_t(6, round(weeks * 7 * 86_400 / STEP_S))


def pages(model: str, values: np.ndarray, budget: float) -> list[int]:
    river = River(model, STEP_S, budget)
    scores = [river.observe((i + 0.5) * STEP_S, float(value)) for i, value in enumerate(values)]
    return [i for i, score in enumerate(scores) if score is not None and score.page]


def test_the_rule_language_offers_each() -> None:
    assert {word for word in words() if word.startswith("river.")} == {f"river.{name}" for name in MODELS}


@pytest.mark.parametrize("model", ["ADWIN", "PageHinkley", "HDDMA", "StandardAbsoluteDeviation", "GaussianScorer"])
def test_the_budget_is_kept_on_noise(model: str) -> None:
    """One page a series-week was allowed; as they come, River's detectors would send many times that."""
    spent = sum(len(pages(model, noise(seed), 1.0)) for seed in range(3))
    assert spent <= 1.5 * 3 * WEEKS


@pytest.mark.parametrize("model", ["StandardAbsoluteDeviation", "GaussianScorer"])
def test_a_plain_change_is_a_page(model: str) -> None:
    """Forty standard deviations, after four weeks. (A drift detector says once what it says of noise now and then.)"""
    values = noise(9, 5)
    begun = 4 * 7 * 96 + 30
    values[begun : begun + 40] += 40
    assert any(begun <= page < begun + 40 for page in pages(model, values, 0.25))


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_restart_feeds_the_model_again(model: str) -> None:
    """And it says what it would have said."""
    values = noise(3, 0.6)
    whole, first = River(model, STEP_S, 1.0), River(model, STEP_S, 1.0)
    for i, value in enumerate(values[:300]):
        whole.observe((i + 0.5) * STEP_S, float(value))
        first.observe((i + 0.5) * STEP_S, float(value))
    second = River(model, STEP_S, 1.0)
    second.resume(first.state())
    for i, value in enumerate(values[300:], 300):
        assert second.observe((i + 0.5) * STEP_S, float(value)) == whole.observe((i + 0.5) * STEP_S, float(value))
