"""Random route trees and inhibition rules, and what the real Alertmanager makes of them."""

import json
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

from tests.alertmanager import running

NAMES = ("team", "service", "severity", "region")
VALUES = ("a", "b", "ab", "c")
RECEIVERS = tuple(f"r{i}" for i in range(6))
Labels = dict[str, str]


def matcher(rng: random.Random) -> str:
    """One matcher, in one of the ways in which Alertmanager lets it be written."""
    name, operator = rng.choice(NAMES), rng.choice(("=", "=", "!=", "=~", "!~"))
    plain = operator in ("=", "!=")
    value = rng.choice((*VALUES, "")) if plain else rng.choice(("a|b", "a.*", ".*", ".+", "b?", "", "[ab]+", "c"))
    quoted = rng.random() < 0.5 or not value or not plain
    space = rng.choice(("", " "))
    return f"{name}{space}{operator}{space}" + (f'"{value}"' if quoted else value)


def matchers(rng: random.Random, most: int = 2) -> list[str]:
    return [matcher(rng) for _ in range(rng.randint(1, most))]


def tree(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """A route and all below it."""
    route: dict[str, Any] = {} if depth else {"receiver": rng.choice(RECEIVERS)}
    if depth:
        if rng.random() < 0.7:
            route["receiver"] = rng.choice(RECEIVERS)
        if rng.random() < 0.9:
            route["matchers"] = matchers(rng)
        if rng.random() < 0.4:
            route["continue"] = True
    if depth < 4 and (children := rng.randint(0, 3 if depth else 4)):
        route["routes"] = [tree(rng, depth + 1) for _ in range(children)]
    return route


def labels(rng: random.Random) -> Labels:
    return {name: rng.choice(VALUES) for name in NAMES if rng.random() < 0.75} or {"team": "a"}


def amtool() -> str:
    """What keeps this machine from asking amtool; empty if nothing does."""
    return "" if shutil.which("amtool") else "no amtool here: install Debian's prometheus-alertmanager"


def told_by_alertmanager(directory: Path, route: dict[str, Any], alert: Labels) -> list[str]:
    """The receivers that `amtool config routes test` names."""
    path = directory / "routes.json"  # JSON is YAML.
    path.write_text(json.dumps({"route": route, "receivers": [{"name": name} for name in RECEIVERS]}))
    words = [f"{name}={value}" for name, value in alert.items()]
    asked = ["amtool", "config", "routes", "test", f"--config.file={path}", *words]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True)
    return said.stdout.strip().split(",")


def inhibition(rng: random.Random) -> tuple[list[dict[str, Any]], list[Labels]]:
    """Rules, and alerts that fire together."""
    rules = [
        {
            "source_matchers": matchers(rng), "target_matchers": matchers(rng),
            "equal": rng.sample(NAMES, rng.randint(0, 2)),
        }
        for _ in range(rng.randint(1, 3))
    ]  # fmt: skip
    alerts = {tuple(sorted(labels(rng).items())) for _ in range(rng.randint(2, 6))}
    return rules, [dict(alert) for alert in sorted(alerts)]


def inhibited_by_alertmanager(
    directory: Path, cases: list[tuple[list[dict[str, Any]], list[Labels]]]
) -> list[list[bool]]:
    """For each case and alert whether one server, with the rules of all cases, says that it is inhibited.

    A label keeps the cases apart: each rule asks for that of its own case on both sides.
    """
    config: dict[str, Any] = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}], "inhibit_rules": []}
    posted = []
    for number, (rules, alerts) in enumerate(cases):
        own = f'case="{number}"'
        for rule in rules:
            sides = {side: [*rule[side], own] for side in ("source_matchers", "target_matchers")}
            config["inhibit_rules"].append({**sides, "equal": rule["equal"]})
        posted += [{"labels": {**alert, "case": str(number)}} for alert in alerts]
    with running(directory, config=json.dumps(config)) as server:
        httpx.post(f"{server.url}/api/v2/alerts", json=posted, timeout=60).raise_for_status()
        before = None
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            found = {
                (one["labels"]["case"], tuple(sorted(one["labels"].items()))): bool(one["status"]["inhibitedBy"])
                for one in httpx.get(f"{server.url}/api/v2/alerts", timeout=60).json()
            }
            if len(found) == len(posted) and found == before:  # Its cache of sources is filled a moment later.
                break
            before = found
            time.sleep(0.5)
    return [
        [found[str(number), tuple(sorted({**alert, "case": str(number)}.items()))] for alert in alerts]
        for number, (_, alerts) in enumerate(cases)
    ]
