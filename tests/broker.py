"""A real one-node Kafka broker for tests, from the jars that `make broker` fetches."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

JARS = Path(__file__).parents[1] / ".cache" / "kafka"
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qk"
JAVA = ("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*")
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{more}
advertised.listeners=PLAINTEXT://127.0.0.1:{announced}{more}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
inter.broker.listener.name=PLAINTEXT
log.dirs={directory}/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
"""


def missing() -> str:
    """What keeps this machine from running the broker; empty if nothing does."""
    if not shutil.which("java"):
        return "a real Kafka broker needs java, and mvn to fetch it"
    return "" if (JARS / "complete").exists() else "no Kafka broker here: run `make broker` (needs java and mvn)"


@dataclass(frozen=True)
class Secured:
    """Further listeners: their protocols by name, the properties that they need, and what makes SCRAM users."""

    protocols: Mapping[str, str] = field(default_factory=dict)
    properties: str = ""
    users: tuple[str, ...] = ()


class Broker:
    """A broker that keeps its log in `directory`, and has one address for good, and one for each further listener.

    announced  the port that it tells clients to come to, where something is between
    """

    def __init__(self, directory: Path, secured: Secured = Secured(), announced: int = 0) -> None:
        port, controller = free_port(), free_port()
        self._directory, self.port = directory, port
        self.announced = f"127.0.0.1:{announced or port}"
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in secured.protocols}
        more = "".join(f",{name}://{address}" for name, address in self.addresses.items())
        protocols = "".join(f",{name}:{protocol}" for name, protocol in secured.protocols.items())
        self._config = directory / "server.properties"
        properties = PROPERTIES.format(
            port=port, announced=announced or port, controller=controller, directory=directory, more=more,
            protocols=protocols,
        )  # fmt: skip
        self._config.write_text(properties + secured.properties)
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"127.0.0.1:{port}"
        with (directory / "broker.log").open("w") as log:
            storage = ("kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID, "-c", str(self._config))
            users = [part for user in secured.users for part in ("--add-scram", user)]
            subprocess.run([*JAVA, *storage, *users], check=True, stdout=log, stderr=log, timeout=60)

    def start(self) -> None:
        """Start it, for the first time or again on the data it has; it answers then."""
        with (self._directory / "broker.log").open("a") as log:
            self._process = subprocess.Popen([*JAVA, "kafka.Kafka", str(self._config)], stdout=log, stderr=log)
        _wait(self.port, self._process, self._directory)

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """It ends without a word to anyone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        """It ends as brokers should."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def running(directory: Path, secured: Secured = Secured(), announced: int = 0) -> Iterator[Broker]:
    """A started broker, which does not outlive the block. Where it cannot be had tests are skipped, but in CI."""
    if reason := missing():
        if os.environ.get("CI"):
            pytest.fail(f"CI skips nothing: {reason}")
        pytest.skip(reason)
    broker = Broker(directory, secured, announced)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


def make_topics(address: str, topics: dict[str, int]) -> None:
    """Create topics with so many partitions."""

    async def make() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, count, 1) for name, count in topics.items()])
        finally:
            await admin.close()

    asyncio.run(make())


def _wait(port: int, broker: "subprocess.Popen[bytes]", directory: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if broker.poll() is not None:
            break
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("the broker does not start: " + (directory / "broker.log").read_text()[-2000:])


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
