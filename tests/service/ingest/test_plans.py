"""A span read by plan is what it would be read alone."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from service.ingest.decode import Decoder
from service.ingest.join.join import UNSEEDED, Join
from service.ingest.kernel import intake
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.otlp.scanner import Scanner
from service.ingest.plans import Plans
from service.ingest.stage import Ingest
from tests.service.ingest.cases import body_of
from tests.service.ingest.noise import FIXTURES, Noise
from tests.service.ingest.test_unseen import CASES
from tests.service.ingest.test_unseen_products import PRODUCTS
from tests.service.ingest.wire import Stream, Value, agent, body, chat, same_slots


class Read:
    """A decoder, and what reads its columns; plans stay from one body to the next, if any are made."""

    def __init__(self, decoder: Decoder, learns: bool = True) -> None:
        self.decoder, self.join = decoder, Join(IngestLimits(), Local(), UNSEEDED, learns)

    @property
    def plans(self) -> Plans:
        """The plans that were made."""
        return self.join.reader.plans

    def facts(self, bodies: Sequence[bytes]) -> list[object]:
        """All that is read of each body, comparable: words, readings and resources by what they stand for."""
        lexicon, found = self.join.lexicon, list[object]()
        for decoded in self.join.reader.read(self.decoder.scan(bodies)):
            spans, sayings = [], list(lexicon._readings)
            for row in self.join.tables.decoded()[decoded.first : decoded.stop]:
                said = {name: row[name].tolist() for name in row.dtype.names or ()}
                said["numbers"] = [None if n != n else n for n in said["numbers"]]
                said["reading"], said["tenant"] = sayings[said["reading"]], lexicon.text(said["tenant"])
                said["resource"] = lexicon.resources[said["resource"]]
                spans.append(said)
            found.append((spans, decoded.dropped, decoded.error))
        return found


def check(bodies: Sequence[bytes], planned: Read) -> None:
    """Protobuf and no plans, or the scanner and plans: the same is read, whether shapes are new or known."""
    # What is counted of records together is counted with the first: so they are read one by one.
    wanted = [fact for raw in bodies for fact in Read(ProtobufDecoder(), learns=False).facts([raw])]
    for _ in range(2):
        for raw, want in zip(bodies, wanted, strict=True):
            assert planned.facts([raw]) == [want], raw.hex()


def test_traces_of_the_unseen_mean_the_same() -> None:
    """What SDKs would send of which there is no capture."""
    check([body_of(case) for case in (CASES | PRODUCTS).values()], Read(Scanner()))


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*/traces*.binpb")), ids=lambda path: path.parent.name)
def test_captures_mean_the_same(path: Path) -> None:
    """What real SDKs sent."""
    check([path.read_bytes()], Read(Scanner()))


def test_any_spans_mean_the_same() -> None:
    """Odd and damaged bodies, whose spans have every attribute there is, of every kind."""
    noise, read = Noise(7), Read(Scanner())
    for _ in range(20):
        check([noise.body() for _ in range(100)], read)


@pytest.mark.parametrize("key", ["tenant.id", "session.id", "gen_ai.response.id", "gen_ai.usage.input_tokens",
                                 "gen_ai.agent.name", "gen_ai.provider.name", "traceloop.entity.name"])  # fmt: skip
def test_values_of_one_shape_are_each_their_own(key: str) -> None:
    """One value teaches the plan, the next follow it: fit and unfit texts, sane and insane numbers, all kinds."""
    values: list[Value] = [
        "a", "b", "é", '"q"', '""', '"', '""a""', '"a"b"', '" q "', f'"{"x" * 198}"', f'"{"x" * 199}"', "x\x1b",
        "x" * 200, "x" * 201, "12", 7, 8, 0, -3, 2**53, 2**53 + 2, 2**63 - 1, 1.5, -1.5, float("nan"), float("inf"),
        True, False, "langchain", "OpenAI", "Xai",
    ]  # fmt: skip
    read = Read(Scanner())
    for value in values:
        check([body(chat(1, 2, 0, 1, **{key: value}), agent(1, 1, 0, 2, **{key: value}))], read)  # type: ignore[arg-type]


@pytest.mark.parametrize("letter", ["\x00", "\x1f", " ", "!", '"', "#", "~", "\x7f", "\x80", "\xff", "é", "\U0001f600"])
def test_a_letter_is_fit_or_not_wherever_it_stands(letter: str) -> None:
    """Texts are looked at eight letters at a time, and the rest one by one."""
    read = Read(Scanner())
    texts = ["a" * at + letter + "z" * after for at in range(18) for after in range(0, 18, 3)]
    check([body(*(chat(1, i + 1, 0, 1, tenant__id=text) for i, text in enumerate(texts)))], read)
    assert read.plans.count == (letter in " !#~")


def test_shapes_differ_where_their_texts_do() -> None:
    """Of texts alike but in one letter, and of one that is another's beginning: each its own plan."""
    read, texts = Read(Scanner()), ["abcdefghijklmnopqrst"[:size] for size in range(1, 20)]
    texts += [text[:at] + "X" + text[at + 1 :] for text in texts for at in range(0, len(text), 3)]
    check([body(*(chat(1, i + 1, 0, 1, gen_ai__agent__name=text) for i, text in enumerate(texts)))], read)
    assert read.plans.count == len(set(texts))


def test_documents_that_are_alike_belong_to_a_shape() -> None:
    """What was asked for has a plan for each text, if that is short; what it took is read anew each time."""
    read = Read(Scanner())
    asked = [*(f'{{"model": "m{i % 5}"}}' for i in range(50)), '{"model": "m', "[1]", "x" * 3_000]
    check([body(*(chat(1, i + 1, 0, 1, llm__invocation_parameters=text) for i, text in enumerate(asked)))], read)
    assert read.plans.count == 5 + 2
    usage = [f'{{"input": {i}}}' for i in range(50)]
    took = (chat(1, i + 1, 0, 1, langfuse__observation__usage_details=text) for i, text in enumerate(usage))
    check([body(*took)], read)
    assert read.plans.count == 5 + 2


def test_names_are_part_of_a_shape_where_they_mean_something() -> None:
    """Spans that only their names tell, after others like them."""
    read = Read(Scanner())
    for name in ("agent.generate", "agent.tool search", "running tool: x", "elsewhere", "agent.generate", ""):
        sent = chat(1, 2, 0, 1)
        check([body(type(sent)(1, 2, 0.0, 1.0, 0, name, attributes={"agent.name": "a"}))], read)


def test_a_million_tenants_take_no_room() -> None:
    """Tenants and sessions are in no shape; agents are, and past the bound they are read one by one."""
    read = Read(Scanner())
    read.facts([body(*(chat(i, 1, 0, 1, tenant__id=f"t{i}") for i in range(1, 2_000)))])
    assert read.plans.count == 1


def test_a_full_table_of_plans_is_emptied_now_and_then() -> None:
    """More shapes than there is room for: the rest is read alone, and once in a million spans all are forgotten."""
    read, made = Read(Scanner()), 0
    while not read.plans.shapes.is_full:
        made += 500
        spans = (chat(1, i + 1, 0, 1, gen_ai__agent__name=f"a{i}") for i in range(made - 500, made))
        read.facts([body(*spans)])
    full = read.plans.count
    columns = ProtobufDecoder().scan([body(chat(1, 2, 3, 4, 5))])
    read.plans.recognise(columns)
    assert read.plans.count == full and intake.unplanned(columns) == [0]
    check([body(chat(1, 2, 3, 4, 5))], read)
    read.plans._seen = 10**9
    read.plans.recognise(columns)
    assert read.plans.count == 1 and intake.unplanned(columns) == []


def test_both_decoders_close_the_same_slots() -> None:
    """All captures, one after the other, through the whole of ingest."""
    streams = [Stream(lateness_ns=2**60), Stream(lateness_ns=2**60)]
    streams[1].ingest = Ingest(streams[1].limits, decoder=Scanner())
    for path in sorted(FIXTURES.glob("*/traces*.binpb")):
        for stream in streams:
            stream.send_bytes(path.read_bytes(), 10_000_000)
    one, other = (stream.flush() for stream in streams)
    assert same_slots(one.slots, other.slots) and one.tally == other.tally and len(one.slots) > 10
