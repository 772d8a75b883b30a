"""What fails, and how: a real daemon, its broker, its disk, its clock, its group, and what is between them."""

import asyncio
import os
import random
import resource
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError

from tests import broker
from tests.chaos.clock import WallClock
from tests.chaos.network import Network
from tests.service.running import Running

GROUP = "tocsin"
WEIGHTS = {
    "daemon killed": 6, "daemon stands still": 2, "broker killed": 1, "broker stands still": 1, "network cut": 2,
    "network silent": 1, "network slow": 1, "clock put forward": 1, "clock put back": 1, "disk full": 1,
    "partitions taken away": 2,
}  # fmt: skip
"""The kinds, and how often each comes beside the others."""
STEP_S = (10.0, 7200.0)
ROOM_BYTES = 16 << 10
"""How much a file may still grow while the disk is full: enough for the log, too little for state."""
JOIN_S = 20.0
"""How long a second member waits for its share: the daemon may just be starting."""


def schedule(rng: random.Random, faults: int, kinds: Collection[str] = WEIGHTS) -> list[str]:
    """So many faults of these kinds, drawn by their weights."""
    drawn = {kind: weight for kind, weight in WEIGHTS.items() if kind in kinds}
    return rng.choices(list(drawn), list(drawn.values()), k=faults)


class Faults:
    """The daemon, and all that can fail around it.

    killed  when the daemon was killed, by the monotonic clock
    taken   how many partitions another member of the group was given, all together
    """

    def __init__(
        self, directory: Path, kafka: broker.Broker, between: Network, settings: Mapping[str, str], topic: str,
        rng: random.Random,
    ) -> None:  # fmt: skip
        self._directory, self._kafka, self._between, self._topic, self._rng = directory, kafka, between, topic, rng
        self._clock = WallClock(directory)
        self._settings = {**{f"TOCSIN_{name}": value for name, value in settings.items()}, **self._clock.settings}
        self.daemon = self._started()
        self.killed: list[float] = []
        self.taken = 0

    def _started(self) -> Running:
        return Running(self._directory, self._settings)

    async def fail(self, kind: str, seconds: float) -> None:
        """Have one thing fail for so long; a clock stays as wrong as it became."""
        match kind:
            case "daemon killed":
                self.daemon.kill()
                self.killed.append(time.monotonic())
                self.daemon = self._started()
                await asyncio.sleep(seconds)
            case "daemon stands still":
                await _stopped(self.daemon.process.pid, seconds)
            case "broker killed":
                self._kafka.kill()
                await asyncio.sleep(seconds)
                await asyncio.to_thread(self._kafka.start)
            case "broker stands still":
                await _stopped(self._kafka.pid, seconds)
            case "clock put forward" | "clock put back":
                step_s = self._rng.uniform(*STEP_S)
                self._clock.step(step_s if kind.endswith("forward") else -step_s)
                await asyncio.sleep(seconds)
            case "disk full":
                await self._full(seconds)
            case "partitions taken away":
                await self._shared(seconds)
            case _:
                self._between.turn(kind.removeprefix("network "))
                await asyncio.sleep(seconds)
                self._between.turn("open")

    async def _full(self, seconds: float) -> None:
        """No file of the daemon can grow by more than its log needs."""
        pid, (_, hard) = self.daemon.process.pid, resource.prlimit(self.daemon.process.pid, resource.RLIMIT_FSIZE)
        room = self.daemon.log.stat().st_size + ROOM_BYTES
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, hard))
        try:
            await asyncio.sleep(seconds)
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    async def _shared(self, seconds: float) -> None:
        """Another member joins the group, holds its share of the partitions without reading them, and leaves."""
        other = AIOKafkaConsumer(
            self._topic, bootstrap_servers=self._kafka.addresses["FLEET"], group_id=GROUP, enable_auto_commit=False,
            partition_assignment_strategy=(StickyPartitionAssignor, RoundRobinPartitionAssignor),
        )  # fmt: skip
        until_s = time.monotonic() + JOIN_S
        try:
            await other.start()
            while not other.assignment() and time.monotonic() < until_s:
                await asyncio.sleep(0.1)
            await asyncio.sleep(seconds)
            self.taken += len(other.assignment())
        except KafkaError:
            pass  # The broker was killed just before, and does not lead its groups yet.
        finally:
            await other.stop()

    def said(self, words: Sequence[str]) -> int:
        """How often any of the daemons wrote one of these in its log."""
        logs = [path.read_text() for path in self._directory.glob("daemon-*.log")]
        return sum(text.count(word) for text in logs for word in words)


async def _stopped(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)
