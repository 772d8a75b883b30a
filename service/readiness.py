"""What keeps a daemon from taking telemetry in, and what somebody should look into all the same: `/-/ready`."""

from typing import TYPE_CHECKING

from service.sources.kafka import SILENT_S
from service.sources.topics import Topics

if TYPE_CHECKING:
    from service.daemon import Daemon

TELEMETRY_SILENT_S = 600.0
"""For how long nothing may come until we say so."""


class Readiness:
    """One daemon's."""

    def __init__(self, daemon: "Daemon") -> None:
        self._daemon = daemon

    def missing(self) -> str:
        """Say what keeps it from taking telemetry in; empty while nothing does."""
        daemon = self._daemon
        if daemon.saving_fails:
            return f"cannot save: {daemon.saving_fails}"
        if not daemon.ready.is_set() or daemon.door.closing:
            return "starting or stopping"
        if daemon.kafka is None:
            return ""
        if (silent_s := daemon.kafka.silent_s()) > SILENT_S:
            return f"no Kafka broker has answered for {silent_s:.0f} s"
        return "" if daemon.kafka.topics.found else self._missing_topics()

    def notes(self) -> list[str]:
        """Say what somebody should look into, although telemetry is taken in."""
        daemon = self._daemon
        found = [daemon.minutely.unreadable, daemon.minutely.waiting, daemon.minutely.clock, daemon.put_back]
        if daemon.kafka and daemon.kafka.topics.missing:
            found.append(self._missing_topics())
        if daemon.kafka and (count := daemon.kafka.elsewhere.count):
            found.append(f"another member of the Kafka group reads {count} of the partitions")
        if (silent_s := daemon.metrics.telemetry_silent_s()) > TELEMETRY_SILENT_S:
            found.append(f"no telemetry has come for {silent_s:.0f} s")
        if daemon.sessions and daemon.sessions.problem:
            found.append(f"sessions are not recorded: {daemon.sessions.problem}")
        if daemon.told and daemon.told.failing:
            found.append(f"outcomes are not read from Kafka: {daemon.told.failing}")
        if daemon.told and daemon.told.topics.missing:
            found.append(told_missing(daemon.told.topics))
        found.append(daemon.weekly.problem())
        if not daemon.rule_files.is_current:
            found.append("the rule files are wrong since they were changed: the rules of before are in use")
        return [note for note in found if note]

    def _missing_topics(self) -> str:
        assert self._daemon.kafka is not None
        return told_missing(self._daemon.kafka.topics)


def told_missing(topics: Topics) -> str:
    """The topics that there are not, in words."""
    return f"Kafka has no topic {', '.join(topics.missing)}; see {topics.setting}"
