"""The state machine of a connection."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.discord import session
from connectors.discord.closes import CLOSES, Then
from connectors.discord.frames import Acked, BeatAsked, Dispatched, Hello, Invalidated, ReconnectAsked, Unknown
from connectors.discord.session import (
    TRANSITIONS,
    AskPermission,
    Beat,
    Began,
    Broke,
    Count,
    Emit,
    End,
    Given,
    Identify,
    Link,
    Permitted,
    Resume,
    Resumed,
    Session,
    Stage,
    Ticked,
    advance,
    opened,
)

OLD = Session(id="old", seq=40, resume_url="wss://old.example")
NEW = Session(id="new", seq=1, resume_url="wss://new.example")
READY = Dispatched(seq=1, name="READY", data={"session_id": "new", "resume_gateway_url": "wss://new.example"})
HELLO = Hello(interval_seconds=40.0)


def message(seq: int) -> Dispatched:
    return Dispatched(seq=seq, name="MESSAGE_CREATE", data={"id": str(seq)})


def after(link: Link, *steps: Given, now: float = 0.0, chance: float = 0.5) -> Link:
    for step in steps:
        link, _ = advance(link, step, now=now, chance=chance)
    return link


def asking() -> Link:
    return after(opened(None, now=0.0), HELLO)


def identifying() -> Link:
    return after(asking(), Permitted())


def live() -> Link:
    return after(identifying(), READY)


def resuming() -> Link:
    return after(opened(OLD, now=0.0), HELLO)


def ended(link: Link, step: Given, *, now: float = 0.0, chance: float = 0.5) -> End:
    """Return the decision that `step` leads to, and nothing else does."""
    link, effects = advance(link, step, now=now, chance=chance)
    assert link.stage is Stage.OVER
    assert len(effects) == 1
    assert isinstance(effects[0], End)
    return effects[0]


# ---- the table -------------------------------------------------------------------------------------------------------


def test_every_stage_has_a_row_for_all_that_may_come() -> None:
    assert {stage: set(rows) for stage, rows in TRANSITIONS.items()} == {stage: set(get_args(Given)) for stage in Stage}


def test_when_it_is_over_nothing_matters_any_more() -> None:
    over = after(live(), ReconnectAsked())
    everything: list[Given] = [
        *(HELLO, Acked(), BeatAsked(), ReconnectAsked(), Invalidated(resumable=False), message(2), Unknown(op=12)),
        *(Permitted(), Ticked(), Broke(code=4004)),
    ]

    assert [advance(over, one, now=1e9, chance=0.5) for one in everything] == [(over, ())] * len(everything)


# ---- the begin -------------------------------------------------------------------------------------------------------


def test_without_a_session_hello_leads_to_a_question_and_the_permission_to_identify() -> None:
    link, effects = advance(opened(None, now=0.0), HELLO, now=1.0, chance=0.5)
    assert (link.stage, effects) == (Stage.ASKING, (AskPermission(),))

    link, effects = advance(link, Permitted(), now=2.0, chance=0.5)
    assert (link.stage, effects) == (Stage.IDENTIFYING, (Identify(),))

    link, effects = advance(link, READY, now=3.0, chance=0.5)
    assert (link.stage, effects) == (Stage.LIVE, (Began(session=NEW),))
    assert link.session == NEW


def test_a_second_permission_identifies_no_second_time() -> None:
    assert advance(identifying(), Permitted(), now=0.0, chance=0.5) == (identifying(), ())
    assert advance(live(), Permitted(), now=0.0, chance=0.5) == (live(), ())


def test_with_a_session_hello_leads_to_its_resumption() -> None:
    link, effects = advance(opened(OLD, now=0.0), HELLO, now=1.0, chance=0.5)
    assert (link.stage, effects) == (Stage.RESUMING, (Resume(session=OLD),))

    link, effects = advance(link, message(41), now=2.0, chance=0.5)
    assert (link.stage, effects) == (Stage.RESUMING, (Emit(session_id="old", event=message(41)),))

    link, effects = advance(link, Dispatched(seq=42, name="RESUMED", data=None), now=3.0, chance=0.5)
    assert (link.stage, effects) == (Stage.LIVE, (Resumed(seq=42),))
    assert link.session == replace(OLD, seq=42)


def test_a_resumption_is_fruitless_until_something_of_the_session_comes() -> None:
    assert not opened(OLD, now=0.0).fruitless
    assert resuming().fruitless
    assert after(resuming(), Broke(code=None)).fruitless
    assert not after(resuming(), message(41)).fruitless
    assert not after(resuming(), message(41), Broke(code=None)).fruitless
    assert not live().fruitless


def test_a_link_without_hello_is_given_up_after_half_a_minute() -> None:
    link = opened(OLD, now=100.0)
    assert link.due_at == 130.0
    assert advance(link, Ticked(), now=129.9, chance=0.5) == (link, ())
    assert ended(link, Ticked(), now=130.0) == End(
        then=Then.RESUME, reason="timeout", message="Discord said no hello within 30 s"
    )


def test_ready_without_what_a_resumption_needs_begins_no_session() -> None:
    long = {"session_id": "x" * 257, "resume_gateway_url": "wss://x"}
    wrong: list[Any] = [long, None, [], {}, {"session_id": "x"}, {"session_id": 1, "resume_gateway_url": "wss://x"}]
    for data in wrong:
        end = ended(identifying(), Dispatched(seq=1, name="READY", data=data))
        assert (end.then, end.reason) == (Then.IDENTIFY, "protocol")


@pytest.mark.parametrize("link", [opened(None, now=0.0), asking(), identifying()])
def test_an_event_without_a_session_ends_the_connection(link: Link) -> None:
    end = ended(link, message(1))
    assert (end.then, end.reason, end.close) == (Then.RESUME, "protocol", 4000)


# ---- heartbeats ------------------------------------------------------------------------------------------------------


def test_the_first_heartbeat_is_due_after_a_random_part_of_the_interval() -> None:
    chances = [number / 200 for number in range(200)]
    delays = [advance(opened(None, now=7.0), HELLO, now=7.0, chance=chance)[0].due_at - 7.0 for chance in chances]

    assert delays == pytest.approx([40.0 * chance for chance in chances])
    assert all(0 <= delay < 40.0 for delay in delays)


def test_heartbeats_follow_each_other_by_the_interval_as_long_as_they_are_acknowledged() -> None:
    link, sent_at = live(), []
    for _ in range(5):
        now = link.due_at
        link, effects = advance(link, Ticked(), now=now, chance=0.9)
        assert effects == (Beat(),)
        sent_at.append(now)
        link = after(link, Acked())

    assert sent_at == [20.0, 60.0, 100.0, 140.0, 180.0]


def test_a_tick_that_comes_early_does_nothing() -> None:
    assert advance(live(), Ticked(), now=19.9, chance=0.5) == (live(), ())


def test_heartbeats_go_on_while_the_session_is_waited_for() -> None:
    for link in (asking(), identifying(), resuming()):
        assert advance(link, Ticked(), now=20.0, chance=0.5)[1] == (Beat(),)


def test_a_loop_that_was_late_sends_one_heartbeat_and_not_several() -> None:
    link, effects = advance(live(), Ticked(), now=1000.0, chance=0.5)

    assert effects == (Beat(),)
    assert link.due_at == 1040.0


def test_a_heartbeat_that_is_not_acknowledged_ends_the_link_and_keeps_the_session() -> None:
    link = after(live(), Ticked(), now=20.0)
    end = ended(link, Ticked(), now=60.0)

    assert (end.then, end.reason) == (Then.RESUME, "heartbeat")
    assert end.close not in (None, 1000, 1001)


def test_who_does_not_read_for_lack_of_room_misses_no_acknowledgement() -> None:
    link = after(live(), Ticked(), now=20.0)
    link, effects = advance(link, Ticked(deaf=True), now=60.0, chance=0.5)

    assert effects == (Beat(),)
    assert ended(link, Ticked(), now=100.0).reason == "heartbeat"


def test_a_heartbeat_that_discord_asks_for_goes_at_once_and_decides_nothing() -> None:
    link, effects = advance(live(), BeatAsked(), now=19.0, chance=0.5)
    assert effects == (Beat(),)
    assert link.due_at == 20.0

    assert advance(link, Ticked(), now=20.0, chance=0.5)[1] == (Beat(),)


def test_a_heartbeat_that_is_asked_for_before_hello_waits_for_it() -> None:
    assert advance(opened(None, now=0.0), BeatAsked(), now=1.0, chance=0.5) == (opened(None, now=0.0), ())


def test_a_flood_of_questions_is_answered_within_the_limit_of_a_minute() -> None:
    link, answers = live(), 0
    for number in range(300):
        link, effects = advance(link, BeatAsked(), now=number / 10, chance=0.5)
        answers += effects == (Beat(),)
        assert effects in ((Beat(),), (Count(what="heartbeats_refused"),))

    assert answers == session.SENT_ANSWERS
    assert advance(link, BeatAsked(), now=90.0, chance=0.5)[1] == (Beat(),)


# ---- dispatches ------------------------------------------------------------------------------------------------------


def test_numbers_that_are_skipped_are_counted_and_old_ones_move_nothing_back() -> None:
    link, effects = advance(live(), message(5), now=0.0, chance=0.5)
    assert effects == (Count(what="missed", count=3), Emit(session_id="new", event=message(5)))

    link, effects = advance(link, message(3), now=0.0, chance=0.5)
    assert effects == (Emit(session_id="new", event=message(3)),)
    assert link.session == replace(NEW, seq=5)


def test_ready_in_place_of_a_replay_begins_a_new_session() -> None:
    link, effects = advance(resuming(), READY, now=0.0, chance=0.5)
    assert (link.session, effects) == (NEW, (Began(session=NEW),))


def test_opcodes_of_the_future_are_counted() -> None:
    assert advance(live(), Unknown(op=42), now=0.0, chance=0.5) == (live(), (Count(what="unknown_opcodes"),))


# ---- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [opened(OLD, now=0.0), asking(), identifying(), resuming(), live()])
def test_op_7_asks_for_a_new_connection_at_once_even_before_hello(link: Link) -> None:
    assert ended(link, ReconnectAsked()) == End(
        then=Then.RESUME, reason="op_7", message="Discord asked for a new connection", close=4000, at_once=True
    )


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.999])
def test_op_9_resumes_or_begins_anew_after_a_random_pause(chance: float) -> None:
    end = ended(live(), Invalidated(resumable=True), chance=chance)
    assert (end.then, end.reason, end.pause_seconds) == (Then.RESUME, "op_9_resumable", 1 + 4 * chance)
    assert end.close not in (None, 1000, 1001)

    end = ended(resuming(), Invalidated(resumable=False), chance=chance)
    assert (end.then, end.reason, end.pause_seconds) == (Then.IDENTIFY, "op_9", 1 + 4 * chance)


def test_op_9_without_a_session_leaves_nothing_to_resume() -> None:
    assert ended(identifying(), Invalidated(resumable=True)).then is Then.IDENTIFY


@pytest.mark.parametrize("code", [None, 1000, 1001, 1011, *CLOSES])
def test_a_close_of_the_other_side_is_read_by_the_table(code: int | None) -> None:
    expected = CLOSES[code].then if code is not None and code in CLOSES else Then.RESUME
    end = ended(live(), Broke(code=code))

    assert (end.then, end.close) == (expected, None)
    assert end.reason == ("closed" if code is None else f"close_{code}")


def test_an_end_says_what_happened_and_what_helps() -> None:
    assert ended(live(), Broke(code=4014)).message == (
        "Discord closed the connection with code 4014: the bot is not allowed these intents; enable the privileged "
        "intents of the bot in Discord's developer portal, or take them out of `intents`"
    )
    assert ended(live(), Broke(code=None)).message == (
        "Discord closed the connection without a close code: the connection ended"
    )


# ---- whatever comes --------------------------------------------------------------------------------------------------

DISPATCHES = st.builds(
    Dispatched,
    seq=st.integers(0, 60),
    name=st.sampled_from(["READY", "RESUMED", "MESSAGE_CREATE"]),
    data=st.none() | st.just(READY.data) | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
GIVENS: st.SearchStrategy[Any] = st.one_of(
    st.just(HELLO),
    st.just(Acked()),
    st.just(BeatAsked()),
    st.just(ReconnectAsked()),
    st.builds(Invalidated, resumable=st.booleans()),
    DISPATCHES,
    st.builds(Unknown, op=st.integers(-5, 200)),
    st.just(Permitted()),
    st.builds(Ticked, deaf=st.booleans()),
    st.builds(Broke, code=st.none() | st.integers(1000, 5000)),
)


@given(st.booleans(), st.lists(st.tuples(GIVENS, st.floats(0, 50), st.floats(0, 1, exclude_max=True)), max_size=60))
def test_whatever_comes_in_whatever_order_a_link_greets_once_and_ends_once(
    has_session: bool, steps: list[tuple[Given, float, float]]
) -> None:
    link, now, effects = opened(OLD if has_session else None, now=0.0), 0.0, []
    for given_, pause, chance in steps:
        now += pause
        link, more = advance(link, given_, now=now, chance=chance)
        effects += [(now, effect) for effect in more]

    kinds = [type(effect) for _, effect in effects]
    assert kinds.count(Identify) + kinds.count(Resume) <= 1
    assert kinds.count(AskPermission) <= 1
    assert kinds.count(End) == (link.stage is Stage.OVER)
    assert End not in kinds[:-1]
    beats = [at for at, effect in effects if isinstance(effect, Beat)]
    assert all(sum(at - 60 < other <= at for other in beats) <= 118 for at in beats)
    assert all(effect.session_id in ("old", "new") for _, effect in effects if isinstance(effect, Emit))
