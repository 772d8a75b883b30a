"""History replayed through a running daemon: OTLP bodies in at its door, pages out at the stand-ins for on-call.

Nothing is waited for: a body is answered once it was read, and a clean stop ends once what is due was told.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from service.demo.standins import Incident, PagerDutyStandIn, SlackPost, SlackStandIn, serving
from service.sources.otlp_http import PROTOBUF
from tests.service.ingest.wire import EPOCH_S, Sent, body
from tests.service.running import running

MONDAY_S = 1_736_121_600 - EPOCH_S
"""6 January 2025, 00:00 UTC, as a second of the test: old enough for any clock, and far from the ends of its month."""
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
KEY = "k" * 32


@dataclass(frozen=True)
class OnCall:
    """What reached on-call, and what /metrics said once all was read: values by name and labels."""

    incidents: Sequence[Incident]
    posts: Sequence[SlackPost]
    metrics: Mapping[tuple[str, ...], float]


async def replayed(directory: Path, rules: str, bodies: Iterable[bytes], **settings: str) -> OnCall:
    """A daemon with these rules reads the bodies, one after another, and ends cleanly."""
    (directory / "rules.yaml").write_text(rules)
    pagerduty, slack = PagerDutyStandIn(time.monotonic), SlackStandIn(time.monotonic)
    async with serving(pagerduty) as pager, serving(slack) as hook:
        told = {
            "PAGERDUTY__URL": pager.url, "PAGERDUTY__ROUTING_KEY": KEY,
            "SLACK__WEBHOOK_URL": f"{hook.url}/services/T0/B0/x",
            "RULES": str(directory / "rules.yaml"), "MAX_PAGE_AGE": "0", "SAVE_EVERY": "1h",
        }  # fmt: skip
        with running(directory, **told, **settings) as daemon:
            door, web = await asyncio.to_thread(daemon.addresses)
            async with httpx.AsyncClient(trust_env=False) as client:
                for each in bodies:
                    answer = await client.post(f"{door}/v1/traces", content=each, headers={"Content-Type": PROTOBUF})
                    assert (answer.status_code, answer.content) == (200, b""), answer.content
                shown = (await client.get(f"{web}/metrics")).text
            assert await asyncio.to_thread(daemon.stop) == 0, daemon.said
    return OnCall(pagerduty.incidents, slack.posts, values(shown))


def values(shown: str) -> dict[tuple[str, ...], float]:
    """What /metrics shows, by name and values of labels."""
    families = text_string_to_metric_families(shown)
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def by_hour(spans: Iterable[Sent]) -> list[bytes]:
    """Bodies in order of time, each of the spans that ended within one hour."""
    hours: dict[int, list[Sent]] = {}
    for span in sorted(spans, key=lambda span: span.end_s):
        hours.setdefault(int(span.end_s // HOUR_S), []).append(span)
    return [body(*each) for each in hours.values()]
