"""The policy as the Collector's tail sampling is configured, from what is needed now.

**Why the weights are right.** Each policy keeps a share of the traces that it fits: those whose hash, of one salt for
all policies, lies below that share. The policies stand by falling share. Of those that a trace fits the one with the
largest share comes first, and it keeps the trace wherever any other would. So a trace is kept with the largest share
that it fits, and the policy that the Collector records for it (the first that keeps it) is the one whose name tells
just that share. Its inverse is the weight of Horvitz and Thompson (1952), and sums over what was kept are unbiased.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.ingest.dialects import RESOURCE_FIELDS, WANTED
from service.ingest.vocabulary import AGENT
from service.sampling.names import name_of
from service.sampling.needs import Needs, shares
from service.sampling.policy import Policy

AGENT_ATTRIBUTES = tuple(
    sorted({name for name, (field, *_) in WANTED.items() if field == AGENT} | set(RESOURCE_FIELDS[AGENT]))
)
"""Attributes of spans and resources that name an agent, in any dialect."""
SALT = "tocsin"
HEADER = """\
# The policies of the Collector's tail sampling, as Tocsin wants them now. Written by `tocsin sampling collector`.
# Merge it into the Collector's own configuration: otelcol --config collector.yaml --config THIS
#   --feature-gates=processor.tailsamplingprocessor.recordpolicy
# The names tell Tocsin the weight of what is kept: leave them, the order and the salt as they are.
"""


@dataclass(frozen=True)
class _Part:
    """A policy to render: what it is called, which share of the traces it keeps that `condition` fits.

    condition  as the Collector configures it; None where it fits all
    """

    kind: str
    share: float
    condition: Mapping[str, Any] | None


def rendered(policy: Policy, needs: Needs) -> str:
    """YAML with the processor's `policies`. Equal policies and needs give equal text."""
    said = (f"{need.agent or 'all agents'}: {need.reason}, {need.why}" for need in needs.all)
    needed = "".join(f"# {_comment(each)}\n" for each in said)
    asked = sorted((part for part in _parts(policy, needs) if part.share), key=lambda part: -part.share)
    above = [(part, part.share) for part in asked if part.share > policy.floor]
    lines = "".join(f"      - {_flow(_configured(*one))}\n" for one in (*above, *_floor(policy)))
    return f"{HEADER}{needed}processors:\n  tail_sampling:\n    policies:\n{lines}"


def _parts(policy: Policy, needs: Needs) -> Iterator[_Part]:
    """What is asked for beside the floor."""
    raised = {"error_mode": "ignore", "spanevent": ['name == "exception"']}
    yield _Part("errors", policy.errors, {"type": "status_code", "status_code": {"status_codes": ["ERROR"]}})
    yield _Part("errors raised", policy.errors, {"type": "ottl_condition", "ottl_condition": raised})
    for number, flag in enumerate(policy.flags, 1):
        yield _Part(f"flagged {number}", policy.flagged, _attribute(flag.attribute, flag.values))
    for reason, share in shares(policy).items():
        if needs.are_of_all(reason):
            yield _Part(reason, share, None)
        elif agents := needs.agents(reason):
            for attribute in AGENT_ATTRIBUTES:
                yield _Part(f"{reason} {attribute}", share, _attribute(attribute, agents))


def _floor(policy: Policy) -> Iterator[tuple[_Part, float]]:
    """The audit, which is a part of the rest: what either records was kept with the larger share of the two."""
    for kind, share in (("audit", policy.audit), ("rest", policy.rest)):
        if share:
            yield _Part(kind, share, None), policy.floor


def _configured(part: _Part, told: float) -> dict[str, Any]:
    """A part as the Collector configures it; `told` is the share that its name tells."""
    name = name_of(part.kind, told)
    drawn = {"type": "probabilistic", "probabilistic": {"hash_salt": SALT, "sampling_percentage": 100 * part.share}}
    if part.condition is None:
        return {"name": name, **({"type": "always_sample"} if part.share == 1 else drawn)}
    if part.share == 1:
        return {"name": name, **part.condition}
    both = [{"name": "what", **part.condition}, {"name": "share", **drawn}]
    return {"name": name, "type": "and", "and": {"and_sub_policy": both}}


def _attribute(attribute: str, values: Iterable[str]) -> Mapping[str, Any]:
    """A condition on an attribute: one of these texts, or true where there are none."""
    if texts := list(values):
        return {"type": "string_attribute", "string_attribute": {"key": attribute, "values": texts}}
    return {"type": "boolean_attribute", "boolean_attribute": {"key": attribute, "value": True}}


def _flow(value: object) -> str:
    """A value as YAML in one line, of ASCII. The Collector expands `${...}` in its files: texts have it doubled."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(map(_letter, value.replace("$", "$$"))) + '"'
    return str(value).lower() if isinstance(value, bool) else f"{value:.10g}"


def _letter(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    return letter if " " <= letter <= "~" else f"\\U{ord(letter):08x}"


def _comment(text: str) -> str:
    """A comment's text, in one line of ASCII; the Collector expands `${...}` in comments, too."""
    return "".join(letter if " " <= letter <= "~" and letter != "$" else "?" for letter in text)
