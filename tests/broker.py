"""A real one-node Kafka broker for tests, from the jars that `make broker` fetches."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
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


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """A broker that keeps its log in `directory`: its address. Where it cannot be had tests are skipped, but in CI."""
    if reason := missing():
        if os.environ.get("CI"):
            pytest.fail(f"CI skips nothing: {reason}")
        pytest.skip(reason)
    port, controller = _free_port(), _free_port()
    config = directory / "server.properties"
    config.write_text(PROPERTIES.format(port=port, controller=controller, directory=directory))
    storage = ("kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID, "-c", str(config))
    with (directory / "broker.log").open("w") as log:
        subprocess.run([*JAVA, *storage], check=True, stdout=log, stderr=log, timeout=60)
        broker = subprocess.Popen([*JAVA, "kafka.Kafka", str(config)], stdout=log, stderr=log)
        try:
            _wait(port, broker, directory)
            yield f"127.0.0.1:{port}"
        finally:
            broker.terminate()
            try:
                broker.wait(20)
            except subprocess.TimeoutExpired:
                broker.kill()
                broker.wait()


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


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
