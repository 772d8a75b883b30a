"""What only the operator knows: own prices come first, and what the collector left out is weighed in again."""

import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from service.config.settings import SettingsError, load
from service.ingest.decode import Decoder
from service.ingest.local import Local, Sampling, overrides
from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.otlp.scanner import Scanner
from service.ingest.prices import CostSource, Prices, Tokens
from service.ingest.stage import Ingest
from tests.service.ingest.wire import EPOCH_S, FIXTURES, Stream, agent, body, chat, json_body

NOW_NS = EPOCH_S * 10**9


def test_an_own_price_comes_before_the_list() -> None:
    """By pattern, whatever the case; a cache without a price of its own costs what input does; free stays free."""
    mine = overrides(
        {"prices": [{"model": "gpt-4O*", "input": 2, "output": 10, "cache_read": 1},
                    {"model": "in-house-?", "provider": "vllm", "input": 0, "output": 0}]}
    )  # fmt: skip
    prices, tokens = Prices(mine), Tokens(3000, 100, 1000)
    dollars, source = prices.cost("openai", ("gpt-4o-mini",), tokens, NOW_NS)
    assert dollars == pytest.approx((2000 * 2 + 1000 * 1 + 100 * 10) / 1e6) and source is CostSource.OVERRIDE
    assert prices.cost("vllm", ("in-house-7",), tokens, NOW_NS) == (0.0, CostSource.FREE)
    assert prices.cost("other", ("in-house-7",), tokens, NOW_NS)[1] is CostSource.UNPRICED
    assert prices.cost("anthropic", ("claude-sonnet-4-5",), tokens, NOW_NS)[1] is CostSource.PRICED


@pytest.mark.parametrize("decoder", [ProtobufDecoder(), Scanner()], ids=lambda decoder: str(decoder.name))
def test_an_own_price_knows_the_size_of_a_request(decoder: Decoder) -> None:
    """All tokens of a larger one; what is not named anew stays as it was, and an unnamed cache follows the input."""
    steps = {100: {"input": 4}, 200: {"input": 6, "output": 20}, 300: {"cache_read": 3}, 400: {"output": 30}}
    entry = {"model": "m", "input": 2, "output": 10, "cache_read": 1, "above": steps | {500: {"input": 8}}}
    mine = overrides({"prices": [entry]})
    asked = {  # By input tokens: dollars of a million fresh ones, read and written ones, and answered ones.
        100: (2, 1, 2, 10), 101: (4, 1, 4, 10), 201: (6, 1, 6, 20), 301: (6, 3, 6, 20), 401: (6, 3, 6, 30),
        501: (8, 3, 8, 30), 9_000: (8, 3, 8, 30),
    }  # fmt: skip
    stream = Stream()
    stream.ingest = Ingest(stream.limits, decoder=decoder, local=Local(mine))
    dollars = {}
    for number, (size, (fresh, read, write, output)) in enumerate(asked.items(), 1):
        dollars[f"t{size}"] = ((size - 30) * fresh + 10 * read + 20 * write + 7 * output) / 1e6
        alone, source = Prices(mine).cost("any", ("", "m"), Tokens(size, 7, 10, 20), NOW_NS)
        assert alone == pytest.approx(dollars[f"t{size}"]) and source is CostSource.OVERRIDE
        call = chat(number, 1, 1, 3, gen_ai__request__model="m", tenant__id=f"t{size}")
        used = {"input": size, "output": 7, "cache_read.input": 10, "cache_creation.input": 20}
        said = dict(call.attributes) | {f"gen_ai.usage.{name}_tokens": count for name, count in used.items()}
        stream.send(call.__class__(**{**vars(call), "attributes": said}), now_s=4)
    cost = {row["labels"][0]: row["cost_usd"] for row in stream.flush().of("llm")}  # type: ignore[index]
    assert cost == pytest.approx(dollars)
    assert stream.tally.costs == {CostSource.OVERRIDE: len(asked)}


def test_the_example_of_the_documents_is_read() -> None:
    """All its entries, as they stand there."""
    readme = (Path(__file__).parents[3] / "deploy" / "README.md").read_text()
    (example,) = re.findall(r"```yaml\n(prices:.*?)```", readme, re.DOTALL)
    mine = overrides(YAML(typ="safe", pure=True).load(example))
    assert [(bool(each.bands.starts), each.fits("openai", "gpt-4o-mini")) for each in mine] == [
        (False, True), (True, False), (False, False), (False, False)
    ]  # fmt: skip


def _above(steps: Any) -> Any:
    return {"prices": [{"model": "m", "input": 1, "output": 2, "above": steps}]}


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (_above(200_000), "entry 1: above: 200000 is not by input tokens; write {200000: {input: 5, output: 20}}"),
        (_above({"200k": {"input": 2}}), "above: {'200k': {'input': 2}} is not by input tokens"),
        (_above({0: {"input": 2}}), "is not by input tokens"),
        (_above({True: {"input": 2}}), "is not by input tokens"),
        (_above({9: 2.5}), "above 9: 2.5 is no price; write {input: 5, output: 20}"),
        (_above({9: {}}), "above 9: {} is no price"),
        (_above({9: {"input": "2"}}), "above 9: input: '2' is no price; write dollars for a million tokens"),
        (_above({9: {"model": "n"}}), 'above 9: "model" is no field; there are input, output, cache_read, cache_write'),
        (_above({n: {"input": 2} for n in range(1, 7)}), "above: 6 sizes; at most 5 are read"),
        ([], "expected one list"),
        ({"prices": [7]}, "entry 1: is no mapping"),
        ({"prices": [{"input": 1, "output": 2}]}, "entry 1: model: is missing"),
        ({"prices": [{"model": "m", "input": 1, "output": 2}, {"model": "m", "input": "1"}]}, "entry 2: input: '1'"),
        ({"prices": [{"model": "m", "input": -1, "output": 2}]}, "input: -1 is no price"),
        ({"prices": [{"model": "m", "input": 1, "outputs": 2}]}, '"outputs" is no field; there are model, provider'),
    ],
)
def test_a_wrong_price_is_told(written: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        overrides(written)


def test_settings_read_both(tmp_path: Any) -> None:
    """And name what is wrong with either."""
    (tmp_path / "prices.yaml").write_text("prices:\n- {model: m, input: 1, output: 2}\n")
    told = {
        "PRICES": str(tmp_path / "prices.yaml"),
        "SAMPLING": "errors=1 rest=0.1",
        "SAMPLING_POLICIES": "a=b=1, c 1%=.01,",
    }
    found = load({f"TOCSIN_{name}": text for name, text in told.items()})
    assert len(found.prices) == 1 and found.sampling == Sampling(1.0, 0.1)
    assert found.sampling_policies == (("a=b", 1.0), ("c 1%", 0.01))
    (tmp_path / "bad.yaml").write_text("prices: [")
    for name, text, problem in (
        ("TOCSIN_PRICES", str(tmp_path / "bad.yaml"), "is not YAML"),
        ("TOCSIN_PRICES", str(tmp_path / "none.yaml"), "cannot read"),
        ("TOCSIN_SAMPLING", "10%", "write errors=1 rest=0.1"),
        ("TOCSIN_SAMPLING", "errors=1 rest=0", "write errors=1 rest=0.1"),
        ("TOCSIN_SAMPLING_POLICIES", "errors=1, errors=1", '"errors=1" is not a share of a policy, or its second'),
        ("TOCSIN_SAMPLING_POLICIES", "errors", '"errors" is not a share of a policy'),
        ("TOCSIN_SAMPLING_POLICIES", "errors=1%", '"errors=1%" is not a share of a policy'),
        ("TOCSIN_SAMPLING_POLICIES", "errors=0.0", '"errors=0.0": a policy keeps more than a millionth'),
        ("TOCSIN_SAMPLING_POLICIES", "errors=.", '"errors=.": a policy keeps more than a millionth'),
    ):
        with pytest.raises(SettingsError, match=f"(?s){name}: .*{problem}"):
            load({name: text})


def test_error_rates_are_unbiased_under_tail_sampling() -> None:
    """All failed traces and a tenth of the rest: unweighted, 2% would read as 17%."""
    chance, stream = random.Random(5), Stream()
    stream.ingest = Ingest(stream.limits, local=Local(sampling=Sampling(1.0, 0.1)))
    sent = kept = failures = 0
    for trace in range(1, 20_001):
        failed = chance.random() < 0.02
        sent, failures = sent + 1, failures + failed
        if failed or chance.random() < 0.1:
            kept += 1
            root, call = agent(trace, 1, 0, 5), chat(trace, 2, 1, 3, 1)
            stream.send(root, call.__class__(**{**vars(call), "failed": failed}), now_s=6)
    stream.flush()
    calls = stream.of("llm")
    count, failed_count = (sum(float(str(row[name])) for row in calls) for name in ("count", "failed"))
    assert failures / kept > 0.15
    assert failed_count / count == pytest.approx(failures / sent, rel=0.05)
    assert count == pytest.approx(sent, rel=0.05)
    sessions = sum(float(str(row["count"])) for row in stream.of("session"))
    assert sessions == pytest.approx(sent, rel=0.05)
    squares = sum(float(slot.squares.sum()) for slot in stream.slots)
    assert count**2 / squares < kept * 1.2  # No more is known than was sent.


def test_a_span_that_knows_its_own_threshold_is_believed() -> None:
    """The setting is for those that say nothing."""
    stream = Stream()
    stream.ingest = Ingest(stream.limits, local=Local(sampling=Sampling(1.0, 0.1)))
    call = chat(1, 2, 1, 3)
    stream.send(call.__class__(**{**vars(call), "state": "ot=th:8"}))
    (row,) = stream.flush().of("llm")
    assert row["count"] == 2.0


@pytest.mark.parametrize("decoder", [ProtobufDecoder(), Scanner()], ids=lambda decoder: str(decoder.name))
@pytest.mark.parametrize("write", [body, json_body])
def test_a_recorded_policy_tells_the_weight(decoder: Decoder, write: Callable[..., bytes]) -> None:
    """Whatever else is set. A policy that nobody told of is as none; one of ours tells its share itself, and a
    threshold counts beside it."""
    stream = Stream()
    told = Local(sampling=Sampling(1.0, 0.5), policies={"keep all": 1.0, "sample 10%": 10.0})
    stream.ingest = Ingest(stream.limits, decoder=decoder, local=told)
    sent = {"keep all": 1.0, "sample 10%": 10.0, "else": 2.0, "": 2.0}
    sent |= {"tocsin/rest=0.05": 20.0, "tocsin/flagged 1=1": 1.0, "tocsin/rest=0": 2.0, "tocsin/rest=1e-9": 2.0}
    for number, (policy, weight) in enumerate(sent.items(), 1):
        for i in (number, number + 10):  # New, and known.
            stream.send_bytes(write(chat(i, 1, 1, 3, tenant__id=f"t{weight}{policy}"), policy=policy), 4)
    call = chat(9, 1, 1, 3, tenant__id="own")
    stream.send_bytes(write(call.__class__(**{**vars(call), "state": "ot=th:c"}), policy="sample 10%"), 4)
    counted = {row["labels"][0]: row["count"] for row in stream.flush().of("llm")}  # type: ignore[index]
    assert counted == {f"t{weight}{policy}": 2 * weight for policy, weight in sent.items()} | {"own": 40.0}
    sessions = {row["labels"][0]: row["count"] for row in stream.of("session")}  # type: ignore[index]
    assert sessions == counted


@pytest.mark.parametrize("decoder", [ProtobufDecoder(), Scanner()], ids=lambda decoder: str(decoder.name))
def test_a_collector_records_its_policies(decoder: Decoder) -> None:
    """Captured of a Collector 0.155 with the feature gate: 300 traces of a call each came to its policies `errors`
    (status_code) and `sample 20%` (probabilistic), 33 of them failed, and three of those had a tool call that came
    after the decision. As they are, a third would have failed.
    """
    sent, failed, late = 300, 33, 3
    bodies = sorted((FIXTURES / "otel-collector-0.155.0+recordpolicy").iterdir())
    captured_s = 1_795_434_873 - EPOCH_S

    def counted(policies: dict[str, float]) -> tuple[float, float]:
        stream = Stream()
        stream.ingest = Ingest(stream.limits, decoder=decoder, local=Local(policies=policies))
        for path in bodies:
            assert not stream.send_bytes(path.read_bytes(), captured_s).error
        calls = stream.flush().of("llm")
        count, failures = (sum(float(str(row[name])) for row in calls) for name in ("count", "failed"))
        assert sum(float(str(row["count"])) for row in stream.of("session")) == count
        assert [row["count"] for row in stream.of("tool")] == [late]
        return count, failures

    kept, failures = counted({})
    assert failures == failed and failures / kept > 0.3
    sampled = kept - failed
    assert counted({"errors": 1.0, "sample 20%": 5.0}) == (failed + 5 * sampled, failed)
    by_chance = math.sqrt((sent - failed) * 0.2 * 0.8)
    assert abs(sampled - 0.2 * (sent - failed)) < 2 * by_chance


def test_a_whole_threshold_is_no_silence() -> None:
    """`th:0` says that all are kept: the setting is not asked."""
    stream = Stream()
    stream.ingest = Ingest(stream.limits, local=Local(sampling=Sampling(1.0, 0.1)))
    call = chat(1, 2, 1, 3)
    stream.send(call.__class__(**{**vars(call), "state": "ot=th:0"}))
    assert [row["count"] for row in stream.flush().of("llm")] == [1.0]


def test_what_wrappers_state_is_held_against_their_calls() -> None:
    """The root says 300 tokens, its calls 110 each: both are known, and only the calls are counted."""
    stream = Stream()
    root = agent(1, 1, 0, 9)
    stated = dict(root.attributes) | {"gen_ai.usage.input_tokens": 280, "gen_ai.usage.output_tokens": 20}
    stream.send(root.__class__(**{**vars(root), "attributes": stated}), chat(1, 2, 1, 3, 1), chat(1, 3, 4, 6, 1))
    stream.flush()
    assert (stream.tally.stated_tokens, stream.tally.leaf_tokens) == (300, 220)
    assert sum(float(str(row["input_tokens"])) for row in stream.rows()) == 200
    assert stream.tally.costs == {CostSource.PRICED: 2}


def test_a_change_of_policy_is_told_and_a_change_of_traffic_is_not() -> None:
    """Ten windows: one span in ten, then with twice the traffic, then one in two; restored in the middle of it."""
    chance, stream = random.Random(7), Stream()
    number = 0
    windows = [(60, "ot=th:e666")] * 3 + [(120, "ot=th:e666")] * 3 + [(60, "ot=th:8")] * 4
    for window, (spans, state) in enumerate(windows):
        for i in range(spans):
            number += 1
            end_s = 600 * window + 600 / spans * i
            call, said = chat(number, 1, end_s - 1, end_s), state if chance.random() < 0.9 else ""
            stream.send(call.__class__(**{**vars(call), "state": said}), now_s=end_s)
        stream.ingest = Ingest.restore(stream.ingest.snapshot(), stream.limits)
    stream.flush()
    assert stream.tally.tickets == ["sampling of shop changed: one span in 10 was kept, now one in 2"]
