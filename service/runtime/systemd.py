"""What systemd is told of this process, where it asked to be: sd_notify's protocol, a datagram a word."""

import asyncio
import os
import socket

from service.runtime.clocks import LOOK_EVERY_S, ClockWatch
from service.runtime.watchdog import Watchdog

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


def notify(word: str) -> None:
    """Tell systemd, if it started us with a socket for that. What it does not hear changes nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.sendto(word.encode(), address)
    except OSError:
        pass


async def keep_alive(clocks: ClockWatch, work: Watchdog) -> None:
    """Look at the clocks again and again, and tell systemd that we are alive, unless our work hangs."""
    while True:
        clocks.look()
        if not work.hangs():
            notify(ALIVE)
        await asyncio.sleep(LOOK_EVERY_S)
