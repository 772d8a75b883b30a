"""`tocsin demo`: the simulated fleet against a real daemon, and what on-call would get, as it comes.

The fleet's bodies go in at the OTLP/HTTP door of an ordinary daemon, whose clock is the fleet's; pages come out at
stand-ins of Slack and PagerDuty. History is replayed as fast as it is read, the live part at about 60 times real time.
"""

import asyncio
import json
import multiprocessing
import queue
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from alertrules.parse import PACKS, RuleSet, load
from service.config.settings import OtlpSettings, Settings, WebSettings
from service.daemon import Clock, Daemon
from service.demo.fleet import LIVE_NS, MINUTE_NS, Chunk, Fleet, Incident
from service.demo.standins import PagerDutyStandIn, Serving, SlackStandIn, serving

SEED = 1
SPEED = 60.0
KEEP_FIRING_NS = 5 * MINUTE_NS
"""The demo's rules hold a page for five minutes after recovery, not thirty: nobody wants to watch that."""
AFTERMATH_NS = 10 * MINUTE_NS
"""How long after an incident's end a page of its agent still counts as its own."""
SETTLE_S = 20.0
CHUNKS_AHEAD = 40
BAR_WIDTH = 40


@dataclass
class Page:
    """One PagerDuty incident, as its events told it."""

    page_id: str
    rule: str
    labels: dict[str, str]
    title: str
    lines: list[str]
    time_s: float
    incident: Incident | None
    resolved_s: float | None = None


@dataclass
class Teller:
    """Follows what PagerDuty was sent, and tells it: lines for people, or one JSON object a line."""

    as_json: bool
    incidents: tuple[Incident, ...]
    kind_of: dict[str, str]
    pages: dict[str, Page] = field(default_factory=dict)
    began: set[str] = field(default_factory=set)
    read: int = 0

    def say(self, text: str, **facts: Any) -> None:
        """One event, in the form that was asked for."""
        if self.as_json:
            print(json.dumps(facts), flush=True)
        elif text:
            print(text, flush=True)

    def begin(self, now_ns: int) -> None:
        """Tell of the incidents that have begun by now."""
        for one in self.incidents:
            if one.start_ns <= now_ns and one.incident_id not in self.began:
                self.began.add(one.incident_id)
                self.say(
                    f"{_clock(one.start_ns / 1e9)}  in truth: {one.agent} for {one.tenant}: {one.magnitude}",
                    event="incident", id=one.incident_id, kind=one.kind, agent=one.agent, tenant=one.tenant,
                    start_s=one.start_ns / 1e9, end_s=one.end_ns / 1e9, magnitude=one.magnitude,
                )  # fmt: skip

    def follow(self, place: Serving) -> None:
        """Tell what PagerDuty was sent since the last look."""
        for _, body in place.requests[self.read :]:
            event = json.loads(body)
            if event["event_action"] == "trigger":
                self._trigger(event)
            else:
                self._resolve(event)
        self.read = len(place.requests)

    def _trigger(self, event: dict[str, Any]) -> None:
        if event["dedup_key"] in self.pages:
            return
        payload = event["payload"]
        labels, time_s = payload["custom_details"]["labels"], _seconds(payload["timestamp"])
        page = Page(event["dedup_key"][:12], payload["class"], labels, payload["summary"],
                    payload["custom_details"]["changed"], time_s, self._cause(labels, time_s))  # fmt: skip
        self.pages[event["dedup_key"]] = page
        delay_s = time_s - page.incident.start_ns / 1e9 if page.incident else None
        when = f"{delay_s / 60:.0f} min after it began" if delay_s is not None else "FALSE PAGE"
        lines = "".join(f"\n             {line}" for line in page.lines)
        self.say(
            f"{_clock(time_s)}  PAGE      {page.title}  ({when}){lines}",
            event="page", id=page.page_id, alert=page.rule, labels=labels, time_s=time_s,
            incident=page.incident.incident_id if page.incident else None, delay_s=delay_s, title=page.title,
        )  # fmt: skip

    def _resolve(self, event: dict[str, Any]) -> None:
        page = self.pages.get(event["dedup_key"])
        if page is None or page.resolved_s is not None:
            return
        page.resolved_s = _seconds(event["payload"]["timestamp"])
        self.say(
            f"{_clock(page.resolved_s)}  RESOLVED  {page.title}  ({self.false_pages} false pages so far)",
            event="resolve", id=page.page_id, time_s=page.resolved_s,
        )  # fmt: skip

    def _cause(self, labels: dict[str, str], time_s: float) -> Incident | None:
        """The incident that explains a page of this agent at this time."""
        for one in self.incidents:
            mine = labels.get("agent") == one.agent and labels.get("tenant") == one.tenant
            if mine and one.start_ns <= time_s * 1e9 <= one.end_ns + AFTERMATH_NS:
                return one
        return None

    @property
    def false_pages(self) -> int:
        return sum(page.incident is None for page in self.pages.values())

    def told(self) -> list[Page]:
        """The pages that name an incident by its own kind: what each incident should have had."""
        return [p for p in self.pages.values() if p.incident and self.kind_of.get(p.rule) == p.incident.kind]

    def summary(self, spans: int, seconds: float) -> bool:
        """Tell how it went; True if every incident was paged and resolved, and nothing else was."""
        told = self.told()
        paged = len({p.incident.incident_id for p in told if p.incident})
        resolved = len({p.incident.incident_id for p in told if p.incident and p.resolved_s is not None})
        self.say(
            f"\n{len(self.incidents)} incidents, {paged} paged, {resolved} resolved, {self.false_pages} false pages; "
            f"{spans:,} spans in {seconds:.0f} s ({spans / seconds:,.0f} a second)",
            event="summary", incidents=len(self.incidents), paged=paged, resolved=resolved,
            false_pages=self.false_pages, spans=spans, spans_per_s=round(spans / seconds), seconds=round(seconds, 1),
        )  # fmt: skip
        return paged == resolved == len(self.incidents) and not self.false_pages


def main(as_json: bool) -> int:
    """Run the demo; 0 if all four incidents were paged and resolved with no false page."""
    fleet = Fleet(SEED)
    rules = demo_rules()
    teller = Teller(as_json, fleet.incidents, {rule.name: rule.detector for rule in rules.rules})
    with tempfile.TemporaryDirectory(prefix="tocsin-demo-") as directory:
        return 0 if asyncio.run(_run(teller, rules, Path(directory))) else 1


def demo_rules() -> RuleSet:
    """The shipped rules, which let go of a page sooner."""
    shipped = load([PACKS])
    rules = tuple(rule.model_copy(update={"keep_firing_for_ns": KEEP_FIRING_NS}) for rule in shipped.rules)
    return RuleSet(rules, shipped.receivers, shipped.route)


async def _run(teller: Teller, rules: RuleSet, directory: Path) -> bool:
    begun = time.monotonic()
    now = [0]
    async with serving(SlackStandIn(time.monotonic)) as slack, serving(PagerDutyStandIn(time.monotonic)) as pagerduty:
        settings = Settings(
            data_dir=directory,
            otlp=OtlpSettings(listen="127.0.0.1:0", grpc_listen=None),
            web=WebSettings(listen="127.0.0.1:0"),
            notifiers={
                "slack": {"webhook_url": f"{slack.url}/services/T0/B0/demo"},
                "pagerduty": {"routing_key": "0" * 32, "url": pagerduty.url},
            },
        )
        daemon = Daemon(settings, rules, Clock(lambda: now[0]), lambda line: None)
        async with asyncio.TaskGroup() as group:
            group.create_task(daemon.run(), name="daemon")
            await daemon.ready.wait()
            spans = await _feed(teller, daemon.listening[0], now, pagerduty)
            await _settle(teller, pagerduty, slack)
            daemon.stop()
    return teller.summary(spans, time.monotonic() - begun)


async def _feed(teller: Teller, door: str, now: list[int], pagerduty: Serving) -> int:
    """Post every chunk in order, the live ones at SPEED; returns the spans sent."""
    spans = 0
    live_began_s = 0.0
    begun = time.monotonic()
    bar = sys.stderr.isatty()
    if not teller.as_json:
        print("replaying two weeks of history of 40 agents of 8 tenants, thinned …", flush=True)
    async with httpx.AsyncClient(base_url=f"http://{door}", timeout=60, trust_env=False) as client:
        async for chunk in _chunks():
            if chunk.live and not live_began_s:
                live_began_s = time.monotonic()
                rate = spans / (live_began_s - begun)
                if bar:
                    print("\r" + " " * (BAR_WIDTH + 40), end="\r", file=sys.stderr)
                if not teller.as_json:
                    told = f"… {spans:,} spans, {rate:,.0f} a second. Now live, at about {SPEED:.0f} times real time:"
                    print(told, flush=True)
            if chunk.live:
                due_s = live_began_s + (chunk.until_ns - LIVE_NS) / 1e9 / SPEED
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            now[0] = chunk.until_ns
            answer = await client.post(
                "/v1/traces", content=chunk.body, headers={"Content-Type": "application/x-protobuf"}
            )
            if answer.status_code != 200 or answer.content:
                raise RuntimeError(f"the door answered {answer.status_code}: {answer.content[:200]!r}")
            spans += chunk.spans
            if chunk.live:
                teller.begin(chunk.until_ns)
                teller.follow(pagerduty)
            elif bar:
                _draw(chunk, spans, begun)
    return spans


async def _settle(teller: Teller, pagerduty: Serving, slack: Serving) -> None:
    """Wait for what is still on its way: as many Slack messages as PagerDuty events, and all pages resolved."""
    until_s = time.monotonic() + SETTLE_S
    while time.monotonic() < until_s:
        teller.follow(pagerduty)
        if len(slack.requests) >= len(pagerduty.requests) and all(p.resolved_s for p in teller.pages.values()):
            return
        await asyncio.sleep(0.1)


async def _chunks() -> AsyncIterator[Chunk]:
    """The fleet's chunks, made in a process of their own so that the daemon has its core to itself."""
    context = multiprocessing.get_context("spawn")
    chunks: Any = context.Queue(CHUNKS_AHEAD)
    maker = context.Process(target=_make, args=(chunks,), daemon=True)
    maker.start()
    try:
        while True:
            try:
                chunk = await asyncio.to_thread(chunks.get, True, 60)
            except queue.Empty:
                raise RuntimeError("the fleet has stopped sending") from None
            if chunk is None:
                return
            yield chunk
    finally:
        maker.terminate()
        maker.join()


def _make(chunks: Any) -> None:
    for chunk in Fleet(SEED).chunks():
        chunks.put(chunk)
    chunks.put(None)


def _draw(chunk: Chunk, spans: int, begun: float) -> None:
    """The progress bar of the history."""
    done = 1 - (LIVE_NS - chunk.until_ns) / (14 * 1440 * MINUTE_NS)
    filled = round(done * BAR_WIDTH)
    rate = spans / max(time.monotonic() - begun, 0.001)
    print(f"\r[{'#' * filled:<{BAR_WIDTH}}] {done:4.0%}  {rate:,.0f} spans/s", end="", file=sys.stderr, flush=True)


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def _clock(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%H:%M")
