"""What a daemon does when the machine fails it: nothing told, nothing committed, nothing lost."""

import asyncio
import re
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from alertrules.parse import load
from service.batch import Batch
from service.config.settings import OtlpSettings, Settings, WebSettings
from service.daemon import WALL, Daemon
from service.pipeline.pipeline import Outcome, Pipeline
from service.runtime.steps import Steps
from service.sources.arrival import Arrival
from service.sources.otlp_http import PROTOBUF
from tests.service.ingest.wire import EPOCH_S, Sent, agent, body, chat
from tests.service.replay import values
from tests.service.running import ROOT, Running, running
from tests.service.test_cli import post

FULL_BYTES = 16 << 10
"""No file may grow beyond this while the disk is `full`: enough for the log, too little for state."""


def fill(daemon: Running, full: bool) -> None:
    """Make every larger write of the process fail, or none."""
    _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (FULL_BYTES if full else hard, hard))


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it never became so"
        time.sleep(0.05)


def failures(web: str) -> float:
    text = httpx.get(web + "/metrics", trust_env=False).text
    found = re.search(r"^tocsin_save_failures_total (\S+)", text, re.MULTILINE)
    assert found
    return float(found[1])


def spans(count: int) -> list[Sent]:
    now_s = time.time() - EPOCH_S - 3
    return [chat(i, i, now_s - 1, now_s) for i in range(1, count + 1)]


def test_a_full_disk(tmp_path: Path) -> None:
    """It says so, reads nothing further, and goes on once there is room: what was accepted is there after a restart."""
    with running(tmp_path, SAVE_EVERY="50ms") as daemon:
        door, web = daemon.addresses()
        fill(daemon, full=True)
        sent = spans(40)
        assert post(door, *sent) == 200
        until(lambda: failures(web) >= 2)
        ready = httpx.get(web + "/-/ready", trust_env=False)
        assert ready.status_code == 503 and "cannot save" in ready.text
        assert daemon.said.count("cannot save") == 1
        fill(daemon, full=False)
        until(lambda: httpx.get(web + "/-/ready", trust_env=False).status_code == 200)
        daemon.kill()
    with running(tmp_path) as again:
        door, web = again.addresses()
        assert post(door, *sent) == 200
        assert 'reason="duplicate"} 40.0' in httpx.get(web + "/metrics", trust_env=False).text
        assert again.stop() == 0


def test_a_stop_on_a_full_disk(tmp_path: Path) -> None:
    """It tries for a while, says what that costs, and ends with status 1."""
    with running(tmp_path, SAVE_EVERY="1h") as daemon:
        door, _ = daemon.addresses()
        assert post(door, *spans(40)) == 200
        fill(daemon, full=True)
        assert daemon.stop() == 1
        assert "tocsin: the last state could not be saved" in daemon.said.splitlines()[-1]


class Faulty(Pipeline):
    """A pipeline that cannot move any more."""

    def step(self, batch: Batch, now_ns: int) -> Outcome:
        raise RuntimeError("a bug")


class Choosy(Pipeline):
    """A pipeline that cannot read one record."""

    def step(self, batch: Batch, now_ns: int) -> Outcome:
        if any(b"chat gpt-4o-mini" in record.body for record in batch.records):
            raise RuntimeError("a bug")
        return super().step(batch, now_ns)


def test_a_record_that_meets_a_bug_is_set_aside(tmp_path: Path) -> None:
    """Its sender is told, it is kept for a person and counted, and everything else goes on."""
    settings = Settings(
        data_dir=tmp_path, decoder="protobuf", otlp=OtlpSettings(listen="127.0.0.1:0", grpc_listen=None),
        web=WebSettings(listen="127.0.0.1:0"),
    )  # fmt: skip

    async def run() -> None:
        daemon = Daemon(settings, load([ROOT / "alertrules" / "packs"]), WALL, lambda line: None)
        daemon.steps = Steps(Choosy(daemon.pipeline.limits, daemon.rules, 0), daemon._saved_state)
        async with asyncio.TaskGroup() as group, httpx.AsyncClient(trust_env=False) as client:
            group.create_task(daemon.run())
            await daemon.ready.wait()
            door, web = (f"http://{address}" for address in daemon.listening)
            headers = {"Content-Type": "application/x-protobuf"}
            sent = [body(chat(1, 1, 1, 2)), body(agent(2, 2, 1, 2))]
            answers = [await client.post(f"{door}/v1/traces", content=each, headers=headers) for each in sent]
            assert [answer.status_code for answer in answers] == [400, 200] and b"set aside" in answers[0].content
            counted = values((await client.get(f"{web}/metrics")).text)
            assert counted["tocsin_dropped_total", "set_aside"] == counted["tocsin_spans_total",] == 1
            daemon.stop()

    asyncio.run(run())
    (kept,) = (tmp_path / "rejected").glob("*.bin")
    assert kept.read_bytes() == body(chat(1, 1, 1, 2)) and kept.stat().st_mode & 0o777 == 0o600
    assert "RuntimeError: a bug" in kept.with_suffix(".json").read_text()


def test_a_bug_ends_the_daemon(tmp_path: Path) -> None:
    """Loudly, and with nothing saved of the step that failed."""
    settings = Settings(
        data_dir=tmp_path,
        decoder="protobuf",
        otlp=OtlpSettings(listen="127.0.0.1:0", grpc_listen=None),
        web=WebSettings(listen="127.0.0.1:0"),
    )

    async def run() -> None:
        daemon = Daemon(settings, load([ROOT / "alertrules" / "packs"]), WALL, lambda line: None)
        daemon.steps = Steps(Faulty(daemon.pipeline.limits, daemon.rules, 0), lambda: None)
        async with asyncio.TaskGroup() as group:
            group.create_task(daemon.run())
            await daemon.ready.wait()
            async with httpx.AsyncClient(trust_env=False) as client:
                with pytest.raises(httpx.TransportError):
                    await client.post(
                        f"http://{daemon.listening[0]}/v1/traces", content=body(chat(1, 1, 1, 2)),
                        headers={"Content-Type": "application/x-protobuf"},
                    )  # fmt: skip

    with pytest.raises(ExceptionGroup) as error:
        asyncio.run(run())
    assert error.group_contains(RuntimeError, match="a bug")
    assert not list(tmp_path.glob("state-*"))


class Hanging(Pipeline):
    """A pipeline whose steps with records wait to be let go."""

    def __init__(self, like: Pipeline) -> None:
        super().__init__(like.limits, like.rules, 0)
        self.let_go = threading.Event()

    def step(self, batch: Batch, now_ns: int) -> Outcome:
        assert not batch.records or self.let_go.wait(30)
        return super().step(batch, now_ns)


def test_a_step_that_hangs(tmp_path: Path) -> None:
    """It is not healthy while one runs for longer than it may, and healthy again once it has ended."""
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path, "decoder": "protobuf", "step_max": "200ms",
            "otlp": {"listen": "127.0.0.1:0"}, "web": {"listen": "127.0.0.1:0"},
        }
    )  # fmt: skip

    async def run() -> None:
        daemon = Daemon(settings, load([ROOT / "alertrules" / "packs"]), WALL, lambda line: None)
        pipeline = Hanging(daemon.pipeline)
        daemon.steps = Steps(pipeline, lambda: None)
        async with asyncio.TaskGroup() as group, httpx.AsyncClient(trust_env=False) as client:
            group.create_task(daemon.run())
            await daemon.ready.wait()
            door, web = (f"http://{address}" for address in daemon.listening)
            headers = {"Content-Type": PROTOBUF}
            assert (await client.get(f"{web}/-/healthy")).status_code == 200
            sent = group.create_task(client.post(f"{door}/v1/traces", content=body(chat(1, 1, 1, 2)), headers=headers))
            async with asyncio.timeout(10):
                while (hung := await client.get(f"{web}/-/healthy")).status_code == 200:
                    await asyncio.sleep(0.01)
            assert hung.status_code == 503 and hung.text.startswith("hangs: a step has been running for 0.")
            assert values((await client.get(f"{web}/metrics")).text)["tocsin_step_running_seconds",] > 0.2
            assert not sent.done()
            pipeline.let_go.set()
            assert (await sent).status_code == 200
            assert (await client.get(f"{web}/-/healthy")).status_code == 200
            daemon.stop()

    asyncio.run(run())


def test_news_of_partitions_begins_a_step(tmp_path: Path) -> None:
    """What is expected from here on is told before these records, and not before those that came earlier."""
    settings = Settings(data_dir=tmp_path, decoder="protobuf")

    async def run() -> None:
        daemon = Daemon(settings, load([ROOT / "alertrules" / "packs"]), WALL, lambda line: None)
        daemon.arrivals.get_nowait()  # Without Kafka nothing is expected.
        news = [None, None, ("s/0",), None, ("s/0", "s/1"), None]
        for number, expected in enumerate(news):
            daemon.arrivals.put_nowait(Arrival((), {"s/0": number}, None, expected))
        steps = [[dict(arrival.offsets)["s/0"] for arrival in await daemon.taking.take()] for _ in range(3)]
        assert steps == [[0, 1], [2, 3], [4, 5]]
        daemon.outbox.close()
        daemon.store.close()

    asyncio.run(run())
