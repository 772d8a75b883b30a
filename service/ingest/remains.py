"""What is left of a span once it was counted: what those below it may inherit, and what its session asks of its root.

Nothing of it changes any more, so all but ids and a time is shared by the spans that leave the same.
"""

from typing import NamedTuple

from service.ingest.vocabulary import KEPT, TENANT, Own, Resource, Span

_KINDS_MAX = 100_000
Kind = tuple[object, ...]


class Remains(NamedTuple):
    """What counted spans of one kind have in common; as in Span, but that `own` is without what nobody inherits."""

    operation: str
    own: Own
    resource: Resource
    weight: float
    failed: bool
    spent: bool
    counted: bool
    usage_counted: bool


class Counted:
    """A counted span, in the place of the Span that it was; what lies below needs no other fields."""

    __slots__ = ("parent_id", "remains", "span_id", "start_ns")

    def __init__(self, span_id: bytes, parent_id: bytes, start_ns: int, remains: Remains) -> None:
        self.span_id = span_id
        self.parent_id = parent_id
        self.start_ns = start_ns
        self.remains = remains

    @property
    def operation(self) -> str:
        return self.remains.operation

    @property
    def own(self) -> Own:
        return self.remains.own

    @property
    def resource(self) -> Resource:
        return self.remains.resource

    @property
    def weight(self) -> float:
        return self.remains.weight

    @property
    def failed(self) -> bool:
        return self.remains.failed

    @property
    def spent(self) -> bool:
        return self.remains.spent

    @property
    def counted(self) -> bool:
        return self.remains.counted

    @property
    def usage_counted(self) -> bool:
        return self.remains.usage_counted


Kept = Span | Counted
"""A span of a trace, before or after it was counted."""


class Kinds:
    """Remains by what they are made of: those that are equal are one object. Bounded."""

    def __init__(self) -> None:
        self._known: dict[Kind, Remains] = {}
        self._owns: dict[Kind, Own] = {}

    def remains(self, span: Span) -> Remains:
        """What a span leaves."""
        own, plan = span.own, span.plan
        said: Kind
        if plan is not None:
            said = (plan.number, own.get(TENANT))
        else:
            said = (span.operation, *[pair for pair in own.items() if pair[0] in KEPT])
        kind = (said, span.resource, span.weight, span.failed, span.spent, span.counted, span.usage_counted)
        remains = self._known.get(kind)
        if remains is None:
            if len(self._known) >= _KINDS_MAX:
                self._known.clear()
                self._owns.clear()
            kept = self._owns.setdefault(said, {field: own[field] for field in own if field in KEPT})
            remains = self._known[kind] = Remains(
                span.operation, kept, span.resource, span.weight, span.failed, span.spent, span.counted,
                span.usage_counted,
            )  # fmt: skip
        return remains
