"""A daemon as operators run it: a process of its own, its settings in the environment, its log read back."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = (sys.executable, "-m", "service", "run")
LOOPBACK = {
    "TOCSIN_DECODER": "protobuf", "TOCSIN_OTLP__LISTEN": "127.0.0.1:0", "TOCSIN_OTLP__GRPC_LISTEN": "127.0.0.1:0",
    "TOCSIN_WEB__LISTEN": "127.0.0.1:0",
}  # fmt: skip


class Running:
    """A started `tocsin run`, or another command that does the same."""

    def __init__(self, directory: Path, settings: Mapping[str, str], command: Sequence[str] = RUN) -> None:
        self.log = directory / f"daemon-{time.monotonic_ns()}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
        defaults = {**LOOPBACK, "TOCSIN_DATA_DIR": str(directory / "state"), "PYTHONUNBUFFERED": "1"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT, env={**inherited, **defaults, **settings}, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def said(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text()

    def addresses(self, seconds: float = 30) -> tuple[str, str]:
        """Where its OTLP door and its web server are, once they listen."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            if found := re.search(r"OTLP on (http://\S+), metrics and API on (http://\S+)", self.said):
                return found[1], found[2]
            assert self.process.poll() is None, self.said
            time.sleep(0.02)
        raise AssertionError(self.said)

    def kill(self) -> None:
        """Nothing is saved, nothing is closed."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Ask for a clean end; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


@contextmanager
def running(directory: Path, command: Sequence[str] = RUN, **settings: str) -> Iterator[Running]:
    """A daemon with these settings (without their prefix), which does not outlive the block."""
    daemon = Running(directory, {f"TOCSIN_{name}": value for name, value in settings.items()}, command)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.kill()


def ended(directory: Path, seconds: float = 30, **settings: str) -> tuple[int, list[str]]:
    """The exit status of a daemon that ends by itself, and the lines it wrote."""
    with running(directory, **settings) as daemon:
        return daemon.process.wait(seconds), daemon.said.splitlines()
