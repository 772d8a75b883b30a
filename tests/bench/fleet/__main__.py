"""Pages of the shipped rules over a recorded fleet whose laws are not those of the demo or of the nulls.

    python -m tests.bench.fleet --seed 1 --days 21 [--agents 44] [--arrivals FILE] [--directory DIR] [--json]

Agents of thirteen laws (`laws.py`) in five dialects of spans, with late and repeated spans, gaps of the collector,
hosts whose clocks are wrong, and blips of providers, are posted to the OTLP/HTTP door of a real `tocsin run` as fast as
it takes them, with incidents of its own to find. Said is, by rule, what it paged without an incident (the first week
apart) against its budget, and what of the incidents it found, after how many minutes. DIR keeps what was compiled for
the next run, and the daemon's state and log for whoever wants to look at them.
"""

import argparse
import asyncio
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from service.demo.standins import PagerDutyStandIn, serving
from service.sources.otlp_http import PROTOBUF
from tests.bench.fleet.laws import DAY_S, RULE_OF, WEEK_S, World, world
from tests.bench.fleet.score import Account, Page, accounts, false_pages, pages_of
from tests.bench.fleet.traffic import Recording
from tests.service.replay import KEY, values
from tests.service.running import ROOT, Running, running

WARM_S = 7 * DAY_S
RULES = ("AgentErrorsUp", "AgentLatencyUp", "AgentCostUp", "AgentOutcomesWorse")
FEW_CALLS = 50
"""Incidents that touched fewer model calls are said apart: most of them nobody could tell from chance."""
START_S = 300.0
"""Longest that compiling may take."""


@dataclass(frozen=True)
class Run:
    """What came of a replay."""

    pages: list[Page]
    metrics: dict[tuple[str, ...], float]
    rules: dict[str, Any]
    log: list[str]
    seconds: float
    spans: int
    touched: dict[str, int]
    peak_mib: float


async def replayed(recording: Recording, directory: Path) -> Run:
    """All bodies through a daemon with the shipped rules."""
    pagerduty, began = PagerDutyStandIn(time.monotonic, per_s=1e6, burst=10**6), time.monotonic()
    told = {"RULES": str(ROOT / "alertrules/packs"), "MAX_PAGE_AGE": "0", "SAVE_EVERY": "5m"}
    async with serving(pagerduty) as pager:
        told |= {"PAGERDUTY__URL": pager.url, "PAGERDUTY__ROUTING_KEY": KEY}
        with running(directory, **told) as daemon:
            door, web = await asyncio.to_thread(daemon.addresses, START_S)
            async with httpx.AsyncClient(trust_env=False, timeout=START_S) as client:
                for body in recording.bodies():
                    answer = await client.post(f"{door}/v1/traces", content=body, headers={"Content-Type": PROTOBUF})
                    assert answer.status_code == 200, answer.content
                shown = values((await client.get(f"{web}/metrics")).text)
                rules = {name: (await client.get(f"{web}/api/v1/rules/{name}")).json() for name in RULES}
            peak_mib = _peak_mib(daemon)
            assert await asyncio.to_thread(daemon.stop, seconds=120) == 0, daemon.said
            log = [line for line in daemon.said.splitlines() if "WARN" in line.upper() or "ERROR" in line.upper()]
    pages = pages_of(pager.requests, recording.world)
    return Run(pages, dict(shown), rules, log, time.monotonic() - began, recording.spans, recording.touched, peak_mib)


def _peak_mib(daemon: Running) -> float:
    """Most memory that the daemon held, where the system says it."""
    status = Path(f"/proc/{daemon.process.pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), float("nan"))


def report(run: Run, of: World) -> dict[str, Any]:
    """The table, fit for JSON."""
    wrong, found = false_pages(run.pages, of), accounts(run.pages, of, run.touched)
    weeks = (of.length_s - WARM_S) / WEEK_S
    rows = [_row(rule, [page for page in wrong if page.rule == rule], found, weeks) for rule in RULES]
    paged = [one.pages for one in found if one.pages]
    dropped = {key[-1]: count for key, count in run.metrics.items() if key[0] == "tocsin_dropped_total" and count}
    return {
        "rules": rows,
        "false_pages": [asdict(page) | {"blip": any(map(page.in_blip, of.blips))} for page in wrong],
        "incidents": [asdict(one) for one in found],
        "paged": [asdict(page) for page in run.pages],
        "pages": len(run.pages), "pages_per_incident": round(float(np.mean(paged)), 2) if paged else None,
        "spans": run.spans, "seconds": round(run.seconds), "dropped": dropped, "peak_mib": round(run.peak_mib),
        "warnings": run.log,
    }  # fmt: skip


def _row(rule: str, wrong: list[Page], found: list[Account], weeks: float) -> dict[str, Any]:
    mine = [one for one in found if RULE_OF[one.incident.kind] == rule]
    minutes = [one.minutes for one in mine if one.minutes is not None]
    return {
        "rule": rule,
        "false_warm_up": sum(page.at_s < WARM_S for page in wrong),
        "false_after": sum(page.at_s >= WARM_S for page in wrong),
        "budget_after": round(weeks, 2),
        "incidents": len(mine),
        "of_few_calls": sum(one.touched < FEW_CALLS for one in mine),
        "found": len(minutes),
        "found_by_another": sum(one.minutes is None and one.any_minutes is not None for one in mine),
        "median_minutes": round(float(np.median(minutes)), 1) if minutes else None,
    }


def show(told: dict[str, Any]) -> None:
    """The same for people."""
    print("| rule | false, first week | after | budget | incidents | of < 50 calls | found | by others | median min |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in told["rules"]:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    print(f"{told['pages']} pages, {told['pages_per_incident']} an incident that paged; {told['spans']} spans in "
          f"{told['seconds']} s, dropped {told['dropped']}, {told['peak_mib']} MiB")  # fmt: skip
    for page in told["false_pages"]:
        blip = " (blip)" if page["blip"] else ""
        print(f"false{blip}: day {page['at_s'] / DAY_S:.2f} {page['rule']} {page['agent']} {page['tenant']}")
        for line in page["lines"]:
            print(f"    {line}")
    for one in told["incidents"]:
        what, mins = one["incident"], one["minutes"]
        delay = f"{mins:.0f} min" if mins is not None else f"MISSED (others {one['any_minutes']})"
        scope = " ".join(filter(None, (what["tenant"], what["tool"], what["model"], "ramp" * bool(what["ramp_s"]))))
        lasts = (what["end_s"] - what["start_s"]) / 60
        print(f"day {what['start_s'] / DAY_S:.2f} {what['agent']} {what['kind']} {what['size']:g} for {lasts:.0f} min "
              f"{scope} ({one['touched']} calls): {delay}, {one['pages']} pages")  # fmt: skip
    print(*told["warnings"], sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fleet", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=21)
    parser.add_argument("--agents", type=int, default=44)
    parser.add_argument("--arrivals", type=Path, help="rates of real clients, as an .npz of `rate` by ten minutes")
    parser.add_argument("--directory", type=Path, help="where the daemon's state and log stay")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON")
    args = parser.parse_args()
    rates = np.load(args.arrivals)["rate"] if args.arrivals else None
    of = world(args.seed, args.agents, args.days, rates)
    with tempfile.TemporaryDirectory() as passing:
        directory = args.directory or Path(passing)
        directory.mkdir(parents=True, exist_ok=True)
        for old in (directory / "state").glob("*"):
            old.unlink()
        run = asyncio.run(replayed(Recording(of, args.seed), directory))
    told = report(run, of)
    if args.directory:
        (directory / "rules.json").write_text(json.dumps(run.rules))
        (directory / f"fleet-{args.seed}.json").write_text(json.dumps(told))
    if args.json:
        print(json.dumps(told))
    else:
        show(told)


if __name__ == "__main__":
    main()
