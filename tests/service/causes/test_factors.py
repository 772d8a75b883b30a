"""What a session costs as a product: its factors' terms add up to the change, and the one that changed is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertrules.cause import How
from service.causes.factors import Spent, factors, named

MODELS = ["large", "small"]


def spent(
    calls: float = 10.0, tokens: float = 2000.0, worth: float = 0.5, price: float = 1e-6, large: float = 0.5
) -> Spent:
    """A hundred sessions: calls a session, tokens a call, worth of a token, dollars for its worth, share of `large`."""
    each = 100 * calls * np.array([large, 1 - large])
    all_tokens = each * tokens
    output = 0.1 * all_tokens
    of_worth = (all_tokens - output) * worth
    dollars = (of_worth + 4 * output) * price * np.array([10.0, 1.0])
    return Spent(100.0, each, all_tokens, all_tokens - output, of_worth, dollars)


BEFORE = spent()


@pytest.mark.parametrize(
    ("now", "label"),
    [
        (spent(calls=25), "model calls a session"), (spent(tokens=6000), "tokens a call"),
        (spent(worth=1.0), "input from the cache"), (spent(price=3e-6), "price of large a million tokens"),
    ],
)  # fmt: skip
def test_the_factor_that_changed_is_named(now: Spent, label: str) -> None:
    """One at a time, and it explains all of the change."""
    term = named(BEFORE, now, MODELS)
    assert term is not None and term.how is How.FACTOR and term.label == label
    assert term.share == pytest.approx(1.0, abs=0.05)


def test_a_shift_to_a_dear_model() -> None:
    """It is told as a shift, with the shares of the calls."""
    term = named(spent(large=0.05), spent(large=0.6), MODELS)
    assert term is not None and (term.how, term.value) == (How.MIX, "large")
    assert (term.before, term.now) == pytest.approx((0.05, 0.6))


def test_a_model_that_is_new() -> None:
    """It has no factors of before: it is a matter of which models are asked."""
    term = named(spent(large=0.0), spent(large=0.5), MODELS)
    assert term is not None and (term.how, term.value) == (How.MIX, "large")


def test_two_factors_together_name_none() -> None:
    """Where none explains most of it."""
    assert named(BEFORE, spent(calls=15, tokens=3000), MODELS) is None


def test_nothing_spent() -> None:
    """Without sessions or calls there is nothing to tell."""
    nothing = Spent(0.0, np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2))
    assert named(BEFORE, nothing, MODELS) is None and named(nothing, BEFORE, MODELS) is None


@given(
    *(st.tuples(st.floats(1, 50), st.floats(10, 1e5), st.floats(0.1, 1), st.floats(1e-8, 1e-4), st.floats(0, 1)),) * 2
)
def test_terms_add_up(then: tuple[float, ...], now: tuple[float, ...]) -> None:
    """To the change of what a session costs, to the last digits."""
    one, other = spent(*then), spent(*now)
    change = other.dollars.sum() / other.sessions - one.dollars.sum() / one.sessions
    found = factors(one, other)
    scale = max(one.dollars.sum(), other.dollars.sum()) / 100
    assert sum(each.sum() for each in found.values()) == pytest.approx(change, abs=1e-9 * scale)
