"""The scanner and the join as machine code. Importing this takes half a second: it brings the compiler."""

from service.ingest.join.kernels import INTERPRETED, Kernels
from service.ingest.machine import address, compiled
from service.ingest.otlp.scan import scan
from service.ingest.otlp.scanner import Scanner
from service.ingest.plans import SHAPES

COMPILED = Kernels(address, True, *(compiled(loop) for loop in INTERPRETED[2:]))
CALLED = (address, scan, *SHAPES, *COMPILED[2:])
"""What is called from Python, and so what is worth keeping compiled."""


class CompiledDecoder(Scanner):
    """The scanner, and kernels as fast as it is."""

    kernels = COMPILED
