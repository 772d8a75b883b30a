"""A real Alertmanager for tests, where there is one: Debian's package prometheus-alertmanager."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.broker import free_port

CONFIG = """
global: {resolve_timeout: %s}
route: {receiver: nobody}
receivers: [{name: nobody}]
"""


def missing() -> str:
    """What keeps this machine from running one; empty if nothing does."""
    found = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    return "" if found else "no Alertmanager here: install Debian's prometheus-alertmanager"


def need(reason: str) -> None:
    """Skip a test for which something is missing here; CI skips nothing."""
    if reason and os.environ.get("CI"):
        pytest.fail(f"CI skips nothing: {reason}")
    if reason:
        pytest.skip(reason)


class Alertmanager:
    """One that keeps its state in `directory`, and has one address for good."""

    def __init__(self, directory: Path, config: str) -> None:
        self._directory, self._port = directory, free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        (directory / "alertmanager.yml").write_text(config)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, for the first time or again; it answers then."""
        program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager") or ""
        arguments = (
            f"--config.file={self._directory}/alertmanager.yml", f"--storage.path={self._directory}/data",
            f"--web.listen-address=127.0.0.1:{self._port}", "--cluster.listen-address=",
        )  # fmt: skip
        with (self._directory / "alertmanager.log").open("a") as log:
            self._process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
        until_s = time.monotonic() + 30
        while time.monotonic() < until_s:
            try:
                if httpx.get(f"{self.url}/-/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        pytest.fail((self._directory / "alertmanager.log").read_text()[-2000:])

    def kill(self) -> None:
        """It ends without a word, and forgets every alert."""
        if self._process:
            self._process.kill()
            self._process.wait(10)

    def alerts(self) -> list[dict[str, Any]]:
        """What fires, as its API tells it."""
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/api/v2/alerts").json()
        return found


@contextmanager
def running(directory: Path, resolve_timeout: str = "5m", config: str = CONFIG) -> Iterator[Alertmanager]:
    """A started one, which does not outlive the block."""
    need(missing())
    directory.mkdir(exist_ok=True)
    one = Alertmanager(directory, config.replace("%s", resolve_timeout))
    try:
        one.start()
        yield one
    finally:
        one.kill()
