"""What systemd is told of this process, where it asked to be: sd_notify's protocol, a datagram a word."""

import os
import socket

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
