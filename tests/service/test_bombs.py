"""Who sends bodies that are large unpacked waits or is refused; nobody else does."""

import asyncio
import gzip
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from service.sources.otlp_http import PROTOBUF
from service.sources.unpack import LARGE_WAITING_MAX, BusyError, TooLargeError, Unpacker
from tests.service.ingest.test_elements import EMPTY, many
from tests.service.ingest.wire import EPOCH_S, body, chat
from tests.service.running import running

BOMBS = [
    gzip.compress(bytes(63 << 20), 6),
    gzip.compress(bytes(80 << 20), 6),
    gzip.compress(b"\n\x80\x80\x80\x1e" + many(b"\x12\x00", 60 << 20), 6),
    gzip.compress(EMPTY["log records"][1], 6),
    gzip.compress(b"\x12\x03abc" * (1 << 20), 6),
]
SECONDS = 6.0
PATIENCE_S = 5.0
"""Within which everybody else is answered: they wait for a step that reads one bomb, on a machine that may be busy."""


def test_honest_senders_beside_bombs(tmp_path: Path) -> None:
    """All of their batches are taken, quickly, whatever their size; /metrics and health are quick too."""
    took_s: dict[str, float] = {}
    answers: Counter[tuple[str, int]] = Counter()

    async def run() -> None:
        with running(tmp_path, DECODER="compiled", SAVE_EVERY="100ms") as daemon:
            door, web = await asyncio.to_thread(daemon.addresses)
            until_s = time.monotonic() + SECONDS
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client, asyncio.TaskGroup() as group:

                async def bomb(which: int) -> None:
                    headers = {"Content-Type": PROTOBUF, "Content-Encoding": "gzip"}
                    while time.monotonic() < until_s:
                        path = ("traces", "metrics", "logs")[which % 3]
                        which += 1
                        answer = await client.post(
                            f"{door}/v1/{path}", content=BOMBS[which % len(BOMBS)], headers=headers
                        )
                        answers["bomb", answer.status_code] += 1

                async def honest(who: str, spans: int, encoding: str) -> None:
                    headers = {"Content-Type": PROTOBUF, "Content-Encoding": encoding}
                    number = 0
                    while time.monotonic() < until_s:
                        now_s = time.time() - EPOCH_S
                        sent = body(*(chat(number + i, i, now_s - 1, now_s) for i in range(1, spans + 1)))
                        number += spans
                        begun_s = time.monotonic()
                        content = gzip.compress(sent) if encoding == "gzip" else sent
                        answer = await client.post(door + "/v1/traces", content=content, headers=headers)
                        took_s[who] = max(took_s.get(who, 0.0), time.monotonic() - begun_s)
                        answers[who, answer.status_code] += 1
                        await asyncio.sleep(0.05)

                async def ask(path: str) -> None:
                    while time.monotonic() < until_s:
                        begun_s = time.monotonic()
                        answers[path, (await client.get(web + path)).status_code] += 1
                        took_s[path] = max(took_s.get(path, 0.0), time.monotonic() - begun_s)
                        await asyncio.sleep(0.05)

                for which in range(8):
                    group.create_task(bomb(which))
                for who, spans, encoding in (("small", 5, "gzip"), ("larger", 3000, "gzip"), ("plain", 5, "identity")):
                    group.create_task(honest(who, spans, encoding))
                for path in ("/metrics", "/-/healthy"):
                    group.create_task(ask(path))
            assert await asyncio.to_thread(daemon.stop) == 0

    asyncio.run(run())
    statuses = {who: {status for name, status in answers if name == who} for who in took_s}
    assert statuses == {who: {200} for who in took_s}
    assert answers["bomb", 429] > 0
    assert max(took_s.values()) < PATIENCE_S, took_s


def test_large_ones_are_admitted_first() -> None:
    """More than may wait are refused before anything is unpacked, and small ones have a thread of their own."""

    async def run() -> None:
        unpacker = Unpacker(1 << 20)
        packed = gzip.compress(bytes(32 << 20))
        large = [asyncio.create_task(unpacker.large(packed, 64 << 20)) for _ in range(1 + LARGE_WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await unpacker.large(packed, 64 << 20)
        begun_s = time.monotonic()
        assert await unpacker.small(gzip.compress(bytes(1 << 20)), 64 << 20) == bytes(1 << 20)
        assert await unpacker.small(packed, 64 << 20) is None
        with pytest.raises(TooLargeError):
            await unpacker.small(packed, 1 << 20)
        assert time.monotonic() - begun_s < 1 and not all(task.done() for task in large)
        assert all(len(unpacked) == 32 << 20 for unpacked in await asyncio.gather(*large))
        unpacker.close()

    asyncio.run(run())
