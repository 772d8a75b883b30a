"""What settings describe of the daemon: its pipeline."""

import secrets

from alertrules.parse import RuleSet
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.otlp.scanner import Scanner
from service.pipeline import Pipeline
from service.settings import Settings


def pipeline(settings: Settings, rules: RuleSet) -> Pipeline:
    """The core, as the settings want it, before anything was read or restored."""
    limits = IngestLimits(
        lateness_ns=settings.lateness,
        idle_hold_ns=settings.idle_hold,
        future_max_ns=settings.future_max,
        session_idle_ns=settings.session_idle,
        body_bytes_max=settings.otlp.body_max,
        **settings.limits.model_dump(),
    )
    decoder = Scanner() if settings.decoder == "compiled" else ProtobufDecoder()
    weights = {name: 1 / share for name, share in settings.sampling_policies}
    local = Local(settings.prices, settings.sampling, weights, frozenset(settings.no_failures), dict(settings.rates))
    seed = secrets.randbits(63), secrets.randbits(63)  # Of what was saved, if there is anything.
    return Pipeline(limits, rules, settings.max_page_age, decoder, local, seed, settings.time_zone)
