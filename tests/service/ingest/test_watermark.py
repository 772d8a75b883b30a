"""Event time passes a partition on evidence alone: its log was read to the end, or its records went on."""

from service.ingest.watermark import Watermark
from tests.service.ingest.wire import at_ns

LATENESS_S, HOLD_S = 60, 300


class Logs:
    """A watermark over logs of Kafka, in seconds. Broker answers come every second unless a test leaves them out."""

    def __init__(self, *names: str) -> None:
        self.watermark = Watermark(LATENESS_S * 10**9, HOLD_S * 10**9)
        self.watermark.expect(names)

    def hear(self, name: str, end_s: float, now_s: float | None = None) -> None:
        self.watermark.hear(name, at_ns(end_s), at_ns(end_s + 1 if now_s is None else now_s))

    def steady(self, *names: str, until_s: int) -> None:
        """A record a second on each."""
        for second in range(until_s + 1):
            for name in names:
                self.hear(name, second)
                self.check(name, second + 1)

    def check(self, name: str, at_s: float) -> None:
        self.watermark.check(name, at_ns(at_s), at_ns(at_s))

    def answers(self, name: str, first_s: int, last_s: int) -> None:
        """Its broker says once a second that there is nothing more."""
        for second in range(first_s, last_s + 1):
            self.check(name, second)

    def at(self, now_s: float) -> float | None:
        """Where event time stands."""
        ns = self.watermark.advance(at_ns(now_s))
        return None if ns is None else (ns - at_ns(0)) / 10**9


def test_a_log_that_nobody_could_read_holds_event_time() -> None:
    """Brokers that are gone for hours are no silence: event time stands, however late it is."""
    logs = Logs("a/0")
    logs.steady("a/0", until_s=100)
    assert logs.at(101) == 40
    assert logs.at(10_000) == 40


def test_an_unreadable_log_holds_those_that_can_be_read() -> None:
    """One broker of two is gone: what is read from the other waits, and says for what."""
    logs = Logs("a/0", "a/1")
    logs.steady("a/0", "a/1", until_s=100)
    for second in range(101, 1000):
        logs.hear("a/0", second)
        logs.check("a/0", second + 1)
    assert logs.at(1000) == 40
    assert logs.watermark.waits_for(at_ns(1000)) == ("a/1",)
    assert logs.watermark.waits_for(at_ns(101)) == ()


def test_what_was_written_meanwhile_is_not_late() -> None:
    """After an outage each log holds event time anew, as nobody could write in it: collectors come back one by one."""
    logs = Logs("a/0", "a/1")
    logs.steady("a/0", "a/1", until_s=100)
    back_s = 100 + 3600
    for second in range(101, back_s, 10):  # What collector 0 had kept, written and read at once.
        logs.hear("a/0", second, now_s=back_s)
    logs.check("a/0", back_s)
    logs.check("a/1", back_s)  # Its collector has written nothing yet.
    assert logs.at(back_s) == 40
    for second in range(101, back_s, 10):
        logs.hear("a/1", second, now_s=back_s + 200)
    assert logs.at(back_s + 200) == back_s - 9 - 60


def test_a_steady_log_that_falls_silent_is_waited_for() -> None:
    """It was cut off, most likely: for `hold` it holds event time, and then it is idle."""
    logs = Logs("a/0", "a/1")
    logs.steady("a/0", "a/1", until_s=100)
    for second in range(101, 500):
        logs.hear("a/0", second)
        logs.check("a/0", second + 1)
        logs.check("a/1", second + 1)
        assert logs.at(second + 1) == (40 if second < 400 else second - 60)


def test_a_log_that_speaks_seldom_is_waited_for_a_minute() -> None:
    """Its silence tells nothing, and a page of all others is not to wait for it."""
    logs = Logs("a/0", "a/1")
    logs.hear("a/1", 0)
    for second in range(200):
        logs.hear("a/0", second)
        logs.check("a/0", second + 1)
        logs.check("a/1", second + 1)
    assert logs.at(200) == 139


def test_event_time_passes_an_idle_log_up_to_its_last_check() -> None:
    """What comes into an idle log after that is not late, whatever others have brought meanwhile."""
    logs = Logs("a/0", "a/1")
    logs.answers("a/1", 0, 500)
    for second in range(900):
        logs.hear("a/0", second)
    assert logs.at(900) == 440
    logs.hear("a/1", 450, now_s=900)
    logs.check("a/1", 900)
    assert logs.at(900) == 440  # It speaks again, and holds.


def test_a_new_log_holds_until_it_is_known() -> None:
    """A partition that was added, or assigned after a start, may hold anything."""
    logs = Logs("a/0")
    logs.steady("a/0", until_s=100)
    assert logs.at(101) == 40
    logs.watermark.expect(("a/0", "a/1"))
    for second in range(101, 200):
        logs.hear("a/0", second)
        logs.check("a/0", second + 1)
    assert logs.at(200) == 40
    logs.check("a/1", 200)  # Empty.
    assert logs.at(200) == 139


def test_a_log_that_was_taken_away_holds_for_a_while() -> None:
    """After a rebalance another member reads it; if that leaves soon, nothing that it left unread is late."""
    logs = Logs("a/0", "a/1")
    logs.steady("a/0", "a/1", until_s=100)
    logs.at(101)
    logs.watermark.expect(("a/0",))
    for second in range(101, 401):
        logs.hear("a/0", second)
        assert logs.at(second + 0.9) == 40
    logs.hear("a/0", 401)
    assert logs.at(402) == 341


def test_a_log_that_comes_back_is_waited_for() -> None:
    """Given back, it holds event time until it is read, for as long as that takes."""
    logs = Logs("a/0", "a/1")
    logs.steady("a/0", "a/1", until_s=100)
    logs.at(101)
    logs.watermark.expect(("a/0",))
    logs.hear("a/0", 200)
    logs.watermark.expect(("a/0", "a/1"))
    logs.hear("a/0", 1000)
    assert logs.at(1001) == 40
    logs.hear("a/1", 150, now_s=1001)
    assert logs.at(1001) == 90


def test_a_quiet_night_goes_on() -> None:
    """All logs idle and read to their ends: event time follows what the brokers have confirmed."""
    logs = Logs("a/0", "a/1")
    logs.hear("a/0", 0, now_s=0)
    logs.answers("a/0", 0, 1000)
    logs.answers("a/1", 0, 990)
    assert logs.at(5000) == 930  # And no further than the slowest confirmation.


def test_a_replay_moves_by_its_data_alone() -> None:
    """Old records, read to the end: nothing is closed that no record has passed."""
    logs = Logs("a/0")
    logs.hear("a/0", 0, now_s=90_000)
    logs.answers("a/0", 90_000, 91_000)
    assert logs.at(91_000) == -60


def test_a_clock_put_forward_is_not_silence() -> None:
    """Four minutes at once, in a quiet hour: event time moves on by the time that has really passed."""
    for name in ("otlp", "a/0"):
        logs = Logs(*(("a/0",) if name == "a/0" else ()))
        logs.hear(name, 0, now_s=0)
        logs.answers(name, 0, 70)
        assert logs.at(70) == 10
        logs.watermark.adjust(unheard_ns=0, stepped_ns=240 * 10**9)
        logs.answers(name, 311, 315)
        assert logs.at(315) == 15


def test_a_clock_put_back_delays_nothing() -> None:
    """Two hours back: silence is counted on."""
    logs = Logs("a/0", "a/1")
    for name in ("a/0", "a/1"):
        logs.hear(name, -7200, now_s=0)
        logs.check(name, 0)
    logs.watermark.adjust(unheard_ns=0, stepped_ns=-7200 * 10**9)
    for second in range(1, 100):
        logs.hear("a/0", second - 7200, now_s=second - 7200)
        logs.check("a/0", second - 7200)
        logs.check("a/1", second - 7200)
    assert logs.at(-7100) == 99 - 7200 - 60


def test_a_process_that_stood_still_heard_no_silence() -> None:
    """A door that is pushed to: senders could not reach it, and will try again."""
    logs = Logs()
    for second in range(100):
        logs.hear("otlp/a", second)
        logs.hear("otlp/b", second)
    logs.watermark.adjust(unheard_ns=600 * 10**9, stepped_ns=0)
    logs.hear("otlp/a", 700)
    assert logs.at(701) == 39
    logs.hear("otlp/b", 110, now_s=701)
    assert logs.at(701) == 50


def test_passing_says_what_advance_does() -> None:
    """The end from which on a record closes a slot, with logs that hold and logs that do not."""
    logs = Logs("a/0", "a/1")
    logs.steady("a/0", "a/1", until_s=100)
    assert logs.watermark.passing_ns("a/0", at_ns(50), at_ns(101)) == 2**63 - 1  # The other one holds.
    logs.answers("a/1", 101, 401)
    assert logs.watermark.passing_ns("a/0", at_ns(50), at_ns(401)) == at_ns(110)
    assert logs.watermark.passing_ns("a/0", at_ns(40), at_ns(401)) == 0


def test_state_goes_on() -> None:
    """A stop changes nothing of what logs prove."""
    logs = Logs("a/0", "a/1")
    logs.steady("a/0", "a/1", until_s=100)
    logs.at(101)
    again = Watermark.resume(logs.watermark.state(), LATENESS_S * 10**9, HOLD_S * 10**9)
    again.expect(("a/0", "a/1"))
    again.hear("a/0", at_ns(5000), at_ns(5001))
    assert again.advance(at_ns(5001)) == at_ns(40)
    again.check("a/1", at_ns(5001), at_ns(5001))
    assert again.advance(at_ns(5001)) == at_ns(40)


def an_hour_ahead(*names: str) -> Logs:
    """A record a second on each, up to second 100, by a clock that is wrong by an hour."""
    logs = Logs(*names)
    for second in range(101):
        for name in names:
            logs.hear(name, second, now_s=second + 3601)
            logs.check(name, second + 3601)
    logs.at(3702)
    return logs


def test_an_answer_of_before_the_clock_was_put_back() -> None:
    """It comes after the step, from an hour ahead: the log holds event time as ever, and for no hour."""
    logs = an_hour_ahead("a/0", "a/1")
    logs.watermark.adjust(0, -3600 * 10**9)
    logs.watermark.check("a/1", at_ns(3702), at_ns(102))
    for second in range(101, 500):
        logs.hear("a/0", second)
        logs.check("a/0", second + 1)
        if second == 110:
            logs.hear("a/1", 110)
        logs.check("a/1", second + 1)
        assert logs.at(second + 1) == (second if second >= 410 else min(second, 110) if second >= 110 else 100) - 60


def test_a_clock_that_was_put_back_while_nobody_looked() -> None:
    """What is saved is of an hour ahead: a log that is quiet after the start holds event time for no hour."""
    logs = an_hour_ahead("a/0", "a/1")
    again = Watermark.resume(logs.watermark.state(), LATENESS_S * 10**9, HOLD_S * 10**9)
    again.expect(("a/0", "a/1"))
    for second in range(101, 500):
        again.hear("a/0", at_ns(second), at_ns(second + 1))
        for name in ("a/0", "a/1"):
            again.check(name, at_ns(second + 1), at_ns(second + 1))
    assert again.advance(at_ns(500)) == at_ns(499 - LATENESS_S)
