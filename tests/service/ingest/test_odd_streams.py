"""Odd streams under tight limits: by either decoder, restored, seeded, cut otherwise, the join says the same."""

import random
from collections.abc import Iterator, Sequence

import pytest

from service.batch import Dropped, Record, Signal
from service.ingest.decode import Decoder
from service.ingest.join.join import UNSEEDED, Join, Seed
from service.ingest.kernel.tables import hashed
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.otlp.scanner import Scanner
from service.ingest.stage import Ingest
from tests.service.ingest.wire import Sent, Stream, Value, at_ns, body, chat, same_slots

SAID: dict[str, tuple[float, tuple[Value, ...]]] = {
    "gen_ai.operation.name": (1.0, ("chat", "embeddings", "execute_tool", "invoke_agent", "retrieval", "x")),
    "gen_ai.agent.name": (0.3, ("a", "b")), "tenant.id": (0.3, ("t1", "t2", "t\x013")),
    "gen_ai.agent.version": (0.3, ("1", "2")), "gen_ai.conversation.id": (0.25, ("c1", "c2")),
    "session.id": (0.15, ("s1", "s2")), "gen_ai.request.model": (0.6, ("gpt-4o", "gemini-2.5-pro", "nope")),
    "gen_ai.response.model": (0.3, ("gpt-4o-2024-08-06", "zzz")),
    "gen_ai.provider.name": (0.5, ("openai", "gcp.vertex_ai")),
    "gen_ai.usage.input_tokens": (0.5, (0, 10, 300_000, -4)), "gen_ai.usage.output_tokens": (0.5, (0, 10)),
    "gen_ai.usage.cached_input_tokens": (0.2, (5, 700)), "gen_ai.usage.reasoning_tokens": (0.2, (5, 70)),
    "gen_ai.usage.cost": (0.15, (0.0, 0.5)), "gen_ai.response.id": (0.2, ("r1", "r2")),
    "gen_ai.tool.name": (0.4, ("look", "srv.look", "other")), "session.outcome": (0.1, ("resolved", "failed", "odd")),
    "gen_ai.prompt.name": (0.2, ("greet", "sum")), "gen_ai.prompt.version": (0.2, ("1", "2")),
}  # fmt: skip
"""Attributes, how many of the spans have them, and of what values."""


def limits(chance: random.Random) -> IngestLimits:
    """Tight ones, often: what is given up for them is the harder part."""
    tight: dict[str, int] = {"lateness_ns": chance.choice((5, 20, 60)) * 10**9}
    if chance.random() < 0.4:
        tight |= {"spans_max": chance.choice((20, 60)), "traces_max": chance.choice((5, 30))}
    if chance.random() < 0.3:
        tight["pending_max"] = chance.choice((10, 40))
    if chance.random() < 0.3:
        tight["cells_max"] = chance.choice((4, 12))
    return IngestLimits(**tight)


def arrivals(chance: random.Random) -> Iterator[tuple[bytes, float, str]]:
    """Bodies of few traces and ids, in any order, early, late and twice; when they come, and on which partition."""
    now_s, traces = 0.0, 0
    for _ in range(chance.randint(5, 50)):
        now_s += chance.choice((0, 1, 3, 12, 40, 200, 1000))
        spans = []
        for _ in range(chance.randint(1, 8)):
            traces += chance.random() < 0.4
            end_s = max(now_s - chance.choice((0, 1, 2, 10, 30, 80)) - chance.random() * chance.choice((0, 1)), 1.0)
            start_s = max(end_s - chance.choice((0, 0.5, 3, 20, -1)), 0.5)
            said = {key: chance.choice(values) for key, (share, values) in SAID.items() if chance.random() < share}
            parent = chance.choice((0, 0, chance.randint(1, 12), chance.randint(1, 12)))
            spans.append(
                Sent(max(traces - chance.randint(0, 5), 1), chance.randint(1, 12), start_s, end_s, parent,
                     chance.choice(("", "agent.session", "chat x")), chance.random() < 0.2,
                     chance.choice(("", "", "ot=th:8", "x=1, ot=rv:12;th:c", "ot=th:zz")), said)
            )  # fmt: skip
        raw = body(
            *spans, resource={"service.name": chance.choice(("one", "two")), "tenant_id": chance.choice(("", "r"))}
        )
        for _ in range(1 if chance.random() < 0.8 else 2):
            yield raw, now_s + 1, chance.choice(("p/0", "p/0", "p/1"))


def run(
    decoder: Decoder, given: IngestLimits, sent: Sequence[tuple[bytes, float, str]], stops: bool = False,
    seed: Seed = UNSEEDED,
) -> Stream:  # fmt: skip
    """The stream of these bodies; restored again and again if it `stops`."""
    stream = Stream()
    stream.ingest = Ingest(given, decoder=decoder, seed=seed)
    for number, (raw, now_s, partition) in enumerate(sent):
        stream.send_bytes(raw, now_s, partition)
        if stops and number % 7 == 3:
            stream.ingest = Ingest.restore(stream.ingest.snapshot(), given, decoder)
    return stream.flush()


@pytest.mark.parametrize("seed", range(40))
def test_both_decoders_say_the_same(seed: int) -> None:
    """Slots and tallies to the last bit, and each slot once."""
    chance = random.Random(seed)
    given, sent = limits(chance), list(arrivals(chance))
    plain, fast = run(ProtobufDecoder(), given, sent), run(Scanner(), given, sent)
    assert same_slots(plain.slots, fast.slots) and plain.tally == fast.tally
    starts = [slot.start_ns for slot in fast.slots]
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("seed", range(40))
def test_restored_it_goes_on(seed: int) -> None:
    """On one partition, as a second one that was silent is waited for anew after a stop."""
    chance = random.Random(seed)
    given, sent = limits(chance), [(raw, now_s, "p/0") for raw, now_s, _ in arrivals(chance)]
    whole, parted = run(Scanner(), given, sent), run(Scanner(), given, sent, stops=True)
    assert same_slots(whole.slots, parted.slots) and whole.tally == parted.tally


@pytest.mark.parametrize("seed", range(40))
def test_the_seed_of_hashes_changes_nothing(seed: int) -> None:
    """Two seeds, one of them saved and read back by processes that drew another: the same slots and tallies."""
    chance = random.Random(seed)
    given, sent = limits(chance), [(raw, now_s, "p/0") for raw, now_s, _ in arrivals(chance)]
    drawn = chance.getrandbits(63), chance.getrandbits(63)
    plain, seeded = run(Scanner(), given, sent), run(Scanner(), given, sent, stops=True, seed=drawn)
    assert same_slots(plain.slots, seeded.slots) and plain.tally == seeded.tally
    assert seeded.ingest.join.tables.seed == drawn


def test_ids_that_collide_do_so_under_one_seed() -> None:
    """Chosen to fall on one place of a table, in either half or as texts, they are spread by another seed."""
    chance = random.Random(1)
    seed = chance.getrandbits(63), chance.getrandbits(63)
    plain, seeded = (Join(IngestLimits(), Local(), each).tables for each in (UNSEEDED, seed))
    ids = [number for number in range(50_000) if hashed(UNSEEDED, number, 7) & 255 == 0]
    texts = [raw for _ in range(50_000) if plain.fingerprint(raw := chance.randbytes(16))[0] & 255 == 0]
    assert min(len(ids), len(texts)) > 150
    assert len({hashed(seed, number, 7) & 255 for number in ids}) > 90
    assert len({seeded.fingerprint(raw)[0] & 255 for raw in texts}) > 90
    high = [(top << 56, 7 ^ low << 27) for top in range(-8, 8) for low in range(64)]
    assert len({hashed(seed, *each) for each in high}) == len(high)


@pytest.mark.parametrize("seed", range(40))
def test_read_together_or_one_by_one(seed: int) -> None:
    """Some bodies at once, as a fetch brings them, good and bad: the same answers, watermark, slots and tallies."""
    chance = random.Random(seed)
    given, single, together = limits(chance), Stream(), Stream()
    single.ingest, together.ingest = Ingest(given, decoder=Scanner()), Ingest(given, decoder=Scanner())
    sent = [
        (b"\xff" if chance.random() < 0.05 else raw, now_s, partition) for raw, now_s, partition in arrivals(chance)
    ]
    while sent:
        group, sent = sent[: (size := chance.randint(1, 20))], sent[size:]
        now_s = group[chance.choice((0, -1))][1]  # With the first one's, the others may lie in the future.
        records = [Record(Signal.TRACES, raw, partition) for raw, _, partition in group]
        answers = [single.send_bytes(record.body, now_s, record.partition) for record in records]
        answered = []
        for some in together.ingest.read_all(records, at_ns(now_s), together.tally):
            answered += some
            together.idle(now_s)
        assert answered == answers
        assert single.ingest.watermark_ns == together.ingest.watermark_ns
    assert same_slots(single.flush().slots, together.flush().slots) and single.tally == together.tally


def test_names_that_nobody_needs_are_forgotten() -> None:
    """A table nearly full of tenants of old begins anew with those of live traces, and says the same."""
    runs = []
    for forgets in (False, True):
        stream = Stream()
        stream.send(
            chat(1, 2, 0, 2, parent=1, tenant__id="acme", gen_ai__agent__name="a", gen_ai__conversation__id="c")
        )
        stream.send(*(chat(n, 1, 0, 2, tenant__id=f"t{n}") for n in range(2, 200)))
        stream.send(chat(900, 1, 0, 200))
        if forgets:
            before = len(stream.ingest.join.lexicon.texts())
            stream.ingest.join._seen = 10**9
            stream.ingest.join.lexicon.is_full = lambda: True  # type: ignore[method-assign]
            stream.send(chat(999, 1, 90, 201))
            assert len(stream.ingest.join.lexicon.texts()) < before - 100
        else:
            stream.send(chat(999, 1, 90, 201))
        stream.send(chat(1, 3, 0, 210, parent=1), chat(998, 1, 0, 210, tenant__id="t7"))
        runs.append(stream.flush())
    assert same_slots(runs[0].slots, runs[1].slots) and runs[0].tally == runs[1].tally
    assert not runs[0].dropped(Dropped.SERIES_FULL)
    (late,) = [row for row in runs[1].of("llm") if row["start_s"] == 210 and row["labels"][1] == "a"]  # type: ignore[index]
    assert late["labels"][0] == "acme"  # type: ignore[index]
