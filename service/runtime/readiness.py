"""What keeps a daemon from taking telemetry in, and what somebody should look into all the same: `/-/ready`."""

from typing import TYPE_CHECKING

from service.sources.kafka import SILENT_S

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
        return daemon.kafka.refused or ("" if daemon.kafka.topics.found else daemon.kafka.topics.problem)

    def notes(self) -> list[str]:
        """Say what somebody should look into, although telemetry is taken in."""
        daemon = self._daemon
        found = [daemon.minute_log.unreadable, daemon.minute_log.waiting, daemon.minute_log.clock, daemon.put_back]
        if daemon.unread:
            names = ", ".join(one.name for one in daemon.unread)
            found.append(f"a newer version wrote the state, and these parts of it began anew: {names}")
        if daemon.kafka:
            found += [daemon.kafka.topics.problem, *daemon.kafka.progress.stuck()]
        if daemon.kafka and (count := daemon.kafka.elsewhere.count):
            found.append(f"another member of the Kafka group reads {count} of the partitions")
        if (silent_s := daemon.metrics.telemetry_silent_s()) > TELEMETRY_SILENT_S:
            found.append(f"no telemetry has come for {silent_s:.0f} s")
        if daemon.sessions and daemon.sessions.problem:
            found.append(f"sessions are not recorded: {daemon.sessions.problem}")
        if daemon.told and daemon.told.failing:
            found.append(f"outcomes are not read from Kafka: {daemon.told.failing}")
        if daemon.told:
            found.append(daemon.told.topics.problem)
        found.append(daemon.weekly.problem())
        if (standby := daemon.metrics.parts.standby) and standby.counts.problem:
            found.append(f"whoever leads next would not know all: {standby.counts.problem}")
        if standby and not standby.lease.is_confirmed():
            found.append("nothing is told, as it is not sure that this instance leads: the brokers do not answer")
        if not daemon.rule_files.is_current:
            found.append("the rule files are wrong since they were changed: the rules of before are in use")
        return [note for note in found if note]
