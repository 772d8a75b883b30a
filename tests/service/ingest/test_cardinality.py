"""Calls of models count by their prompt and by the model that answered, as long as there are not too many of either."""

import numpy as np

from detectors.core.columns import CELL_LABELS, CELL_LABELS_BEFORE
from detectors.core.series import OVERFLOW, OVERFLOW_VALUE, SeriesTable
from service.ingest.cardinality import OF_AGENT_MAX, Cardinality, restored
from service.ingest.prices import DAY_NS
from service.ingest.stage import CELL_LIFE_NS, Ingest
from tests.service.ingest.wire import Stream, agent, at_ns, chat

PROMPT, ANSWERED = CELL_LABELS.index("prompt"), CELL_LABELS.index("response_model")


def said(**more: str) -> tuple[str, str, str]:
    """The model, the prompt and the model that answered, of a call that says so much more."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 1, 0, **more))
    (row,) = stream.flush().of("llm")
    labels = row["labels"]
    assert isinstance(labels, tuple)
    return labels[CELL_LABELS.index("model")], labels[PROMPT], labels[ANSWERED]


def test_the_prompt_is_its_name_and_version() -> None:
    """A version alone is enough; a name alone tells no two versions apart."""
    assert said(gen_ai__prompt__name="greeting", gen_ai__prompt__version="v4") == ("gpt-4o-mini", "greeting v4", "")
    assert said(prompt__version="v4") == ("gpt-4o-mini", "v4", "")
    assert said(gen_ai__prompt__name="greeting") == ("gpt-4o-mini", "", "")


def test_the_model_that_answered_is_told_where_another_was_asked() -> None:
    """The model stays what was asked for, and is what answered where nothing else is told."""
    assert said(gen_ai__response__model="gpt-4o-mini-2024-07-18") == ("gpt-4o-mini", "", "gpt-4o-mini-2024-07-18")
    assert said(gen_ai__response__model="gpt-4o-mini") == ("gpt-4o-mini", "", "")
    assert said(gen_ai__request__model="", gen_ai__response__model="o3") == ("o3", "", "")


def test_only_calls_of_models_have_them() -> None:
    """No run of an agent, no tool and no session."""
    stream, prompt = Stream(), {"gen_ai__prompt__name": "greeting", "gen_ai__prompt__version": "v4"}
    run = agent(1, 1, 0, 3, **prompt, gen_ai__response__model="o3")
    tool = chat(1, 2, 1, 2, 1, gen_ai__operation__name="execute_tool", gen_ai__tool__name="look", **prompt)
    stream.send(run, tool, chat(1, 3, 2, 3, 1, **prompt, gen_ai__response__model="o3"))
    stream.flush()
    found = {row["labels"][2]: row["labels"][PROMPT : ANSWERED + 1] for row in stream.rows()}  # type: ignore[index]
    none = ("", "")
    assert found == {"agent": none, "tool": none, "session": none, "llm": ("greeting v4", "o3")}


def counted(stream: Stream, who: str) -> dict[str, float]:
    """Calls of an agent by their prompts."""
    found = dict[str, float]()
    for row in stream.of("llm"):
        labels = row["labels"]
        assert isinstance(labels, tuple)
        if labels[1] == who:
            found[labels[PROMPT]] = found.get(labels[PROMPT], 0.0) + float(str(row["count"]))
    return found


def test_a_version_for_each_call_counts_without_it() -> None:
    """Once an agent has too many; every call counts, those of others stay apart, and it is said once. Also restored."""
    whole, stopping = Stream(), Stream()
    for number in range(OF_AGENT_MAX + 50):
        span_id, start_s, end_s = number + 1, 10 * number, 10 * number + 1
        loud = chat(1, span_id, start_s, end_s, gen_ai__agent__name="loud", prompt__version=f"at {number}")
        still = chat(2, span_id, start_s, end_s, gen_ai__agent__name="still", prompt__version="v1")
        for stream in (whole, stopping):
            stream.send(loud, still)
        if number % 40 == 9:
            stopping.ingest = Ingest.restore(stopping.ingest.snapshot(), stopping.limits)
    for stream in (whole, stopping):
        stream.flush()
        found = counted(stream, "loud")
        assert len(found) == OF_AGENT_MAX + 1 and found[""] == 50.0 and sum(found.values()) == OF_AGENT_MAX + 50
        assert counted(stream, "still") == {"v1": OF_AGENT_MAX + 50.0}
    (line,) = [line for line in whole.tally.tickets if "values of prompt" in line]
    assert line.startswith(f'agent "loud" has more than {OF_AGENT_MAX} values of prompt')


def test_there_is_room_again_once_cells_are_freed() -> None:
    """Versions of weeks ago are no obstacle for new ones."""
    stream = Stream()
    for number in range(OF_AGENT_MAX + 1):
        stream.send(chat(number + 1, 1, 10 * number, 10 * number + 1, prompt__version=f"v{number}"))
    later_s = (CELL_LIFE_NS + 2 * DAY_NS) / 10**9
    for number in range(3):  # Cells are freed before the second of these is read.
        stream.send(chat(9_000 + number, 1, later_s + 100 * number, later_s + 100 * number + 1, prompt__version="new"))
    stream.slots = [slot for slot in stream.flush().slots if slot.start_ns > at_ns(later_s)]
    assert counted(stream, "shop") == {"new": 2.0}


def test_cells_of_a_version_before_go_on() -> None:
    """What they lack is empty; what stands for all that found no room stands for it still."""
    labels = tuple(name for name in CELL_LABELS if name not in ("prompt", "response_model"))
    assert len(labels) == CELL_LABELS_BEFORE
    before = SeriesTable(labels, 4)
    kept, gone, last = (before.id_of(("acme", name, "llm", "", "m", "", "v1", ""), at) for at, name in enumerate("abc"))
    assert before.expire(2).tolist() == [kept, gone]
    again = before.id_of(("acme", "d", "llm", "", "m", "", "v1", ""), 9)
    cells = restored(before.snapshot(), 4)
    assert cells.find(("acme", "d", "llm", "", "m", "", "v1", "", "", "")) == again
    assert cells.values(last) == ("acme", "c", "llm", "", "m", "", "v1", "", "", "")
    assert cells.values(OVERFLOW) == (*[OVERFLOW_VALUE] * (len(CELL_LABELS) - 1), "")
    assert all(cells.born(np.array([row])) == before.born(np.array([row])) for row in (again, last))
    assert Cardinality(cells).id_of(("acme", "e", *[""] * 8), 9) not in (OVERFLOW, again, last)
    assert restored(cells.snapshot(), 4).labels == CELL_LABELS
