"""What is left of a span once it was counted: what those below it may inherit, and what its session asks of its root.

Nothing of it changes any more, so all but ids and a time is shared by the spans that leave the same.
"""

from typing import NamedTuple

from service.ingest.vocabulary import KEPT, TENANT, Own, Resource, Span, lends

_KINDS_MAX = 100_000


class Kind(NamedTuple):
    """What counted spans have in common that differ in what they said; as in Span."""

    operation: str
    resource: Resource
    weight: float
    failed: bool
    spent: bool
    counted: bool
    usage_counted: bool


class Counted:
    """A counted span, in the place of the Span that it was; what lies below needs no other fields."""

    __slots__ = ("kind", "own", "parent_id", "span_id", "start_ns")

    def __init__(self, span_id: bytes, parent_id: bytes, start_ns: int, own: Own, kind: Kind) -> None:
        self.span_id = span_id
        self.parent_id = parent_id
        self.start_ns = start_ns
        self.own = own
        self.kind = kind

    @property
    def lends(self) -> frozenset[str]:
        return lends(self.own, self.kind.operation)

    @property
    def operation(self) -> str:
        return self.kind.operation

    @property
    def resource(self) -> Resource:
        return self.kind.resource

    @property
    def weight(self) -> float:
        return self.kind.weight

    @property
    def failed(self) -> bool:
        return self.kind.failed

    @property
    def spent(self) -> bool:
        return self.kind.spent

    @property
    def counted(self) -> bool:
        return self.kind.counted

    @property
    def usage_counted(self) -> bool:
        return self.kind.usage_counted


Kept = Span | Counted
"""A span of a trace, before or after it was counted."""


class Remains:
    """Makes counted spans; what is equal among them is one object. Bounded."""

    def __init__(self) -> None:
        self._owns: dict[tuple[object, ...], Own] = {}
        self._kinds: dict[tuple[object, ...], Kind] = {}

    def of(self, span: Span, parent_id: bytes) -> Counted:
        """What a span leaves; its parent's id is given as one object for all that hold it."""
        own, plan = span.own, span.plan
        said: tuple[object, ...]
        if plan is not None:
            said = (plan.number, own.get(TENANT))
        else:
            said = tuple([pair for pair in own.items() if pair[0] in KEPT])
        kept = self._owns.get(said)
        if kept is None:
            if len(self._owns) >= _KINDS_MAX:
                self._owns.clear()
            kept = self._owns[said] = {field: own[field] for field in own if field in KEPT}
        key = (span.operation, span.resource, span.weight, span.failed, span.spent, span.counted, span.usage_counted)
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _KINDS_MAX:
                self._kinds.clear()
            kind = self._kinds[key] = Kind(*key)
        return Counted(span.span_id, parent_id, span.start_ns, kept, kind)
