"""To whom the group gives the lease: to whoever has it, as long as that one is heard; else to one that is free for it.

aiokafka's sticky assignor does not do: it keeps what a process was assigned in its class, for all of its consumers, and
gives a partition back to a member that was taken for dead and comes back, from the one that has it now.
"""

from collections.abc import Callable, Iterable, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

HAS_IT, ENDS = b"has the lease", b"ends what it did under a former one"
"""What a member says of itself as it joins; nothing, if it is free."""


def assignor(topic: str, says: Callable[[], bytes]) -> type[AbstractPartitionAssignor]:
    """An assignor of one consumer, as aiokafka asks for a class; `says` is asked at each join."""

    class LeaseAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
        name = "tocsin-lease"
        version = 0

        @classmethod
        def assign(
            cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            known = {member: bytes(said.user_data or b"") for member, said in members.items()}
            owner = chosen(known) if cluster.partitions_for_topic(topic) else ""
            given = {member: [(topic, [0])] if member == owner else [] for member in members}
            return {name: ConsumerProtocolMemberAssignment(cls.version, own, b"") for name, own in given.items()}

        @classmethod
        def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
            return ConsumerProtocolMemberMetadata(cls.version, list(topics), says())

        @classmethod
        def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None:
            pass

    return LeaseAssignor


def chosen(members: Mapping[str, bytes]) -> str:
    """The member to whom the lease is given, by what each says of itself.

    >>> chosen({"b": b"", "a": b"", "c": HAS_IT})
    'c'
    >>> chosen({"b": b"", "a": ENDS})
    'b'
    """
    return min(members, key=lambda name: (members[name] != HAS_IT, members[name] == ENDS, name))
