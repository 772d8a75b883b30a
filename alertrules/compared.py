"""What a rule holds beside each other, of a detector that compares: the label in which series differ, and their kin."""

from collections.abc import Sequence

OF_OTHERS = {"response_model": "model"}
"""Labels whose values are compared only where another one is the same: what answers, by what was asked for."""


def compared(by: Sequence[str], compares: Sequence[str]) -> str | None:
    """The label in which series of a rule with this `by` are compared; None where it has none, or several.

    >>> compared(("agent", "model", "response_model"), ("agent_version", "model", "response_model"))
    'response_model'
    >>> compared(("agent", "response_model"), ("agent_version", "model", "response_model"))
    """
    found = [label for label in by if label in compares]
    for label, other in OF_OTHERS.items():
        if label in found:
            return label if sorted(found) == sorted((label, other)) else None
    return found[0] if len(found) == 1 else None


def kin(by: Sequence[str], label: str, values: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """What a series has in common with those that it may be compared with, and its own value of the label.

    Prompts are kin by their name, which stands before the version: a new prompt is no version of another one.

    >>> kin(("agent", "prompt"), "prompt", ("support", "greeting v4"))
    (('support', 'greeting'), 'greeting v4')
    """
    place = by.index(label)
    name = values[place].rpartition(" ")[0] if label == "prompt" else ""
    return (*values[:place], *values[place + 1 :], name), values[place]
