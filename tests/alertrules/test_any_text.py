"""Any text gets an answer: rules or problems, never another exception."""

from hypothesis import given, settings
from hypothesis import strategies as st

from alertrules.parse import RuleErrors, parse_rules
from alertrules.rules import Rule
from alertrules.wording import clean

KEYS = [field.alias or name for name, field in Rule.model_fields.items()]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["1/week", "errors", "5m"]),
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


def shown(value: object) -> str:
    """A value as YAML's flow style knows it; JSON is YAML but for its names of odd numbers."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{shown(key)}: {shown(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if value is None or isinstance(value, bool):
        return str(value).replace("None", "null").lower()
    return str(value)


def answered(text: str) -> None:
    try:
        parse_rules(text, "rules.yaml")
    except RuleErrors as error:
        assert error.problems
        assert all(problem.line >= 1 and problem.message for problem in error.problems)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """As a file."""
    answered(text)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_values(fields: dict[str, object]) -> None:
    """As a rule's fields."""
    answered(f"groups: [{{name: a, rules: [{shown(fields)}]}}]")


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["groups", "receivers", "route", "other"]), VALUES))
def test_any_file(keys: dict[str, object]) -> None:
    """As the keys of a file."""
    answered(shown(keys))


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=300), st.integers(1, 100))
def test_any_telemetry(text: str, length_max: int) -> None:
    """Cleaned, it is one line of valid Unicode, short enough."""
    harmless = clean(text + "\ud800", length_max)
    assert len(harmless) <= length_max
    assert harmless.encode().decode() == harmless
    assert "\n" not in harmless and "\u202e" not in harmless
