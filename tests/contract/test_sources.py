"""The contract of sources, over every kind that is installed: what each says of itself, and what it does.

What a kind does is looked at in a world that is played (tests/contract/outsides, found by the kind's name), under the
real frame, by owners that die (tests/contract/lives.py). A new kind is found by itself; exceptions are in WAIVERS.
"""

import ast
import asyncio
import logging
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from connectors.base.contract import Delivery, Sends
from connectors.base.fleet import owner
from connectors.base.instance import buffer
from connectors.base.kinds import declared, describing, registry
from connectors.base.kinds.registry import Kind
from connectors.base.options import Options
from connectors.base.texts import secrets
from tests.contract.lives import Life, World
from tests.contract.outside import SECRET, Outside, worlds
from tests.unit.connectors.standing import StandIn
from topics.sources import Spec, State

ROOT: Final = Path(__file__).resolve().parents[2]
KINDS: Final = registry.names()
CANARY: Final = "canary-0123456789abcdef"

WORLDS: Final = worlds()
EVENTS: Final = 5
BATCHES: Final = (1, 1, 2, 1000)
"""Items that are published together, at most."""
SPAN: Final = 60
"""Turns of the loop between two events, at most."""
MOST_WAITING: Final = 4
"""Items that wait for the broker, at most, where that is looked at."""
ABSENCES: Final = 3
EDITS: Final = 6
MOST_OF_A_LIFE: Final = 8
"""Events that happen during it, at most."""

SECRET_NAMES: Final = re.compile(r"token|secret|passw|credential|private|_key$|^key$|authorization|cookie")
NO_SECRETS: Final[Mapping[str, str]] = {
    "kafka.key": "a template of the event's key",
    "redis.key_field": "names a field of an entry",
    "poll.rest.cursor.field": "names a field of an answer",
    "webhook.public_key": "it is public",
    "webhook.challenge": "names a handshake",
    "websocket.token": "how a token is got: an object whose own fields are looked at",
}
"""Options whose names sound like secrets and that are none."""
WRONG: Final[tuple[Any, ...]] = ([[]], {"no": {"such": 1}}, "\x00", -1, 1e9, True)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return registry.load(request.param)


def resolved(kind: Kind) -> dict[str, Any]:
    """The example of a kind, with a canary for every secret that it names."""
    named = {name.partition(".")[2]: CANARY for name in secrets.names(dict(kind.example))}
    options, _ = secrets.resolve(dict(kind.example), environment=secrets.Variables(of_process=named), folder=None)
    assert isinstance(options, dict)
    return options


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models(inner)


def holds_secrets(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(holds_secrets, get_args(annotation)))


def fields_of(config: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield name and type of every option, also of nested ones."""
    for name, field in config.model_fields.items():
        annotation = field.annotation
        yield f"{prefix}.{name}", annotation
        for inner in models(annotation):
            yield from fields_of(inner, f"{prefix}.{name}")


# ---- what a kind says of itself --------------------------------------------------------------------------------------


def test_a_kind_says_in_one_sentence_what_it_is(kind: Kind) -> None:
    assert kind.meaning.endswith(".")
    assert len(kind.meaning) <= 120
    assert ". " not in kind.meaning


def test_a_kind_says_what_can_be_counted_on(kind: Kind) -> None:
    assert isinstance(kind.delivery, Delivery)


def test_the_example_is_valid_as_it_stands_and_with_secrets_in_their_places(kind: Kind) -> None:
    declared.check(Spec(id="src", kind=kind.name, options=kind.example))  # as a file of sources is looked at
    assert isinstance(kind.config.model_validate(resolved(kind)), Options)


def test_every_option_is_described_in_sentences(kind: Kind) -> None:
    found = list(describing.options_of(kind.config))

    assert [one.name for one in found if not re.search(r"[.)]$", one.meaning)] == []
    assert [one.name for one in found if "  " in one.meaning or one.meaning[:1].islower()] == []


def test_options_refuse_names_that_they_do_not_have(kind: Kind) -> None:
    if kind.module.__name__.startswith("connectors."):
        with pytest.raises(ValidationError):
            kind.config.model_validate({**kind.example, "no_such_option": 1})


def test_an_option_that_sounds_like_a_secret_is_one(kind: Kind) -> None:
    open_ones = [
        name
        for name, annotation in fields_of(kind.config, kind.name)
        if SECRET_NAMES.search(name.rpartition(".")[2]) and not holds_secrets(annotation) and name not in NO_SECRETS
    ]

    assert open_ones == []


def test_no_secret_of_the_example_is_shown(kind: Kind) -> None:
    config = kind.config.model_validate(resolved(kind))

    assert CANARY not in f"{config!r} {config} {config.shown()} {config.model_dump_json()}"


def test_no_secret_is_in_an_error_of_other_options(kind: Kind) -> None:
    """Each option in turn is wrong while the secrets are there."""
    options = resolved(kind)
    for name in kind.config.model_fields:
        for wrong in WRONG:
            told = problem_of(kind, {**options, name: wrong})
            assert CANARY not in told, name


@pytest.mark.parametrize(
    "shape", [CANARY, [CANARY], {"x": CANARY}, {"x": [CANARY]}, [[{"x": CANARY}]], CANARY * 300, f"\x00{CANARY}"]
)
def test_a_secret_of_the_wrong_shape_is_not_in_the_error(kind: Kind, shape: Any) -> None:
    secret = [name for name, field in kind.config.model_fields.items() if holds_secrets(field.annotation)]
    for name in secret:
        assert CANARY not in problem_of(kind, {**resolved(kind), name: shape})


def problem_of(kind: Kind, options: Any) -> str:
    """All that can be shown of options: of the error, or of the config that they make."""
    try:
        config = kind.config.model_validate(options)
    except ValidationError as error:
        return f"{error} {error!r} {error.errors(include_url=False, include_context=False, include_input=False)}"
    return f"{config!r} {config.shown()}"


def test_a_source_can_be_made_of_the_example_without_looking_outside(kind: Kind) -> None:
    if kind.make is None:
        assert kind.name == "webhook"
        return
    config = kind.config.model_validate(resolved(kind))
    kind.make(config, StandIn())  # what it imports is read from disk
    with watching() as seen:
        kind.make(config, StandIn())

    assert seen == []


_watched: list[list[str]] = []
_hooked: list[bool] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched and event in {
        *("open", "os.listdir", "os.scandir", "subprocess.Popen", "sqlite3.connect"),
        *("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto"),
    }:
        _watched[-1].append(f"{event} {arguments[:1]}")


@contextmanager
def watching() -> Iterator[list[str]]:
    """Collect what this process does to files and sockets meanwhile."""
    if not _hooked:
        sys.addaudithook(_hook)  # there is no way to remove it: it looks away while nobody watches
        _hooked.append(True)
    seen: list[str] = []
    _watched.append(seen)
    try:
        yield seen
    finally:
        _watched.remove(seen)


@pytest.mark.parametrize("name", registry.ours())
def test_a_kind_knows_nothing_of_the_service(name: str) -> None:
    place = ROOT / "connectors" / name.replace("-", "_")
    files = [place.with_suffix(".py")] if place.with_suffix(".py").exists() else sorted(place.rglob("*.py"))
    known = {module.partition(".")[0] for file in files for module in imports_of(file)}

    assert files
    assert "app" not in known
    assert known & {"connectors", "topics"}


def imports_of(file: Path) -> Iterator[str]:
    """Yield the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_a_kind_that_sends_says_what_can_be_sent_and_no_other_does(kind: Kind) -> None:
    """As the frame shows it to users: the SENDS of its module."""
    sends = issubclass(getattr(kind.module, "Source", object), Sends)
    told = describing.sent_through(kind)

    assert (told is not None) == sends
    if told is not None:
        assert told.endswith(".")
        assert len(told) > 40


@pytest.mark.parametrize("name", registry.ours())
def test_the_reference_has_a_kind(name: str) -> None:
    page = (ROOT / "docs/reference/connectors.md").read_text(encoding="utf-8")

    assert f"\n## {name}\n" in page


# ---- what a kind does ------------------------------------------------------------------------------------------------

IDENTITY: Final = "events that are read again have the same ids"
BROKER: Final = "while the broker is away nothing is acknowledged and no position moves"
DEATH: Final = "owners that die at any moment lose and double nothing"
AWAY: Final = "the broker goes away and comes back while events come: nothing is lost, told too early or kept unbounded"
EDIT: Final = "edits while it runs lose and double nothing, keep the position and stop the reader of before"
CREDENTIALS: Final = "credentials that are revoked are told, and nothing is lost when they are given back"
STOP: Final = "a clean stop publishes and acknowledges what was read, and no more"
SECRECY: Final = "no secret is in a status, a log or a record"

WAIVERS: Final[Mapping[tuple[str, str], str]] = {
    ("cron", CREDENTIALS): "a clock asks nobody, and so for no credentials",
    ("kafka", CREDENTIALS): (
        "the broker of the session asks for none; tests/integration/test_kafka_source.py has one with passwords"
    ),
    ("numbers of a third party", IDENTITY): (
        "it reads on once an acknowledgement is heard; that ids come again is seen by DEATH, and for each provider by "
        "check_provider: tests/unit/headgate/test_checking.py"
    ),
    ("webhook", CREDENTIALS): (
        "who cannot prove it is refused, and the source stays as it is: tests/unit/app/gateway/test_webhooks.py, "
        "tests/unit/connectors/webhook/test_proofs.py"
    ),
    ("websocket", IDENTITY): "a plain service sends nothing again; that ids are of one connection is seen by DEATH",
}
"""Why a world is not held to a rule, by the names of both; where there is another test for it, it is named."""
ABSENT: Final[Mapping[str, str]] = {
    "poll of PostgreSQL": "there is no small one: tests/peers/test_postgres.py kills a real one and its readers",
}
"""Ways to read that have no world here: why, and which test looks at them."""


def held_to(rule: str) -> pytest.MarkDecorator:
    names = [name for name in WORLDS if (name, rule) not in WAIVERS]
    return pytest.mark.parametrize("world", names, indirect=True)


@pytest.fixture
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr(buffer, "AT_ONCE", 1)  # so that no position is saved by the batch that it stands in
    make = WORLDS[request.param]
    bootstrap = request.getfixturevalue("kafka").bootstrap if make.on_kafka else ""
    async with make(tmp_path, bootstrap=bootstrap) as outside:
        made = World(outside)
        yield made
        await made.close()


async def connected(life: Life) -> None:
    await life.until(lambda: life.status.state is State.CONNECTED)


async def begun(world: World, **how: Any) -> Life:
    """The source is set up, and its first reading has begun."""
    life = world.begin(**how)
    await connected(life)
    await life.until(lambda: world.outside.has_begun(None if world.cursor is None else world.cursor.position))
    return life


async def ended(life: Life) -> None:
    await life.stop()
    await life.kill()


async def told(outside: Outside, count: int = EVENTS) -> None:
    for _ in range(count):
        await outside.tell()


async def published(world: World, life: Life) -> None:
    """Everything that has happened is published, and acknowledged where the kind does so."""
    outside = world.outside
    happened = range(1, outside.happened + 1)
    await life.until(lambda: set(world.numbers()) >= set(happened))
    if outside.acknowledges:
        await life.until(lambda: outside.acknowledged() >= set(happened))


async def until_it_waits(life: Life, count: int) -> None:
    await life.until(lambda: life.waiting >= count)


async def turns(count: int) -> None:
    """Let others go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def all_read_by(world: World, life: Life) -> None:
    """One life has published everything that has happened."""
    happened = {*range(1, world.outside.happened + 1)}
    await life.until(lambda: {*world.numbers(life.number)} == happened)


async def live(world: World, life: Life) -> None:
    """Let events happen until a life ends, or nothing more comes."""
    outside = world.outside

    def is_over() -> bool:
        all_read = not is_repeated(outside) or outside.happened in world.numbers()
        return life.dying.is_set() or all_read

    await life.until(lambda: life.dying.is_set() or life.status.state is State.CONNECTED)
    for _ in range(world.chance.randint(1, MOST_OF_A_LIFE)):
        await outside.tell()
        await turns(world.chance.randrange(SPAN))
        if life.dying.is_set():
            return
    await life.until(is_over)


def words_of(life: Life) -> str:
    """What the status says is wrong."""
    error = life.status.error
    return "" if error is None else f"{error.reason} {error.message}"


def delivery_of(outside: Outside) -> Delivery:
    return outside.delivery or registry.load(outside.kind).delivery


def is_repeated(outside: Outside) -> bool:
    """Whether what was not acknowledged, or not behind the position, is read again."""
    return delivery_of(outside) is not Delivery.BEST_EFFORT


@held_to(IDENTITY)
async def test_events_that_are_read_again_have_the_same_ids(world: World) -> None:
    await ended(await begun(world))
    await told(world.outside)
    for _ in range(2):
        await all_read_by(world, life := world.begin(deaf=True))
        await life.kill()

    assert world.outcome() == ([], [], [])
    assert len(world.published) >= 2 * EVENTS


@held_to(BROKER)
async def test_while_the_broker_is_away_nothing_is_acknowledged_and_no_position_moves(world: World) -> None:
    life = await begun(world)
    life.back.clear()
    await told(world.outside)
    await life.until(lambda: life.waiting >= (world.outside.at_a_time or EVENTS))
    await turns(200)  # whoever acknowledges too early has the time to
    assert world.published == []
    if world.outside.acknowledges:
        assert world.outside.acknowledged() == set()
    if is_repeated(world.outside):  # all of it is read again: neither was anything told, nor is it behind the position
        await life.kill()
        life = world.begin()
    life.back.set()
    await published(world, life)
    await ended(life)
    assert world.outcome() == ([], [], [])


@held_to(AWAY)
async def test_the_broker_goes_away_and_comes_back_while_events_come(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffer, "MOST", MOST_WAITING)
    outside = world.outside
    life, most_held = await begun(world), 0
    for absence in range(ABSENCES):
        life.back.set()
        await told(outside, 2)
        if is_repeated(outside):
            await published(world, life)
        life.back.clear()
        for _ in range(2 * MOST_WAITING):
            await outside.tell()
            await turns(world.chance.randrange(SPAN))
            most_held = max(most_held, life.held)
            if outside.acknowledges:
                assert outside.acknowledged() <= {*world.numbers()}
        await until_it_waits(life, outside.at_a_time or 1)
        if absence and is_repeated(outside):  # whoever goes on from the position finds all that was not published
            await life.kill()
            life = await begun(world)
    life.back.set()
    await told(outside)
    if is_repeated(outside):
        await published(world, life)
    else:
        await life.until(lambda: outside.happened in world.numbers())
    await ended(life)

    lost, several_ids, several_events = world.outcome()
    assert (several_ids, several_events) == ([], [])
    assert lost == []
    assert most_held <= MOST_WAITING + 1, "one is on its way, the others wait"


@held_to(EDIT)
async def test_edits_while_it_runs_lose_and_double_nothing_and_stop_the_reader_of_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "EDIT_SECONDS", 0.1)  # one edit comes while the broker is away
    outside = world.outside
    first = await begun(world)
    await told(outside)
    await published(world, first)
    await ended(first)
    life = await begun(world)
    for edit in range(1, EDITS + 1):
        if edit == EDITS // 2:
            life.back.clear()
        await told(outside, world.chance.randint(1, 3))
        await turns(world.chance.randrange(SPAN))
        world.edit(life)
        await told(outside, world.chance.randint(0, 2))
        await life.until(lambda: life.runs(world.spec))
        life.back.set()
        if edit % 2:  # the next one comes before it is connected
            await connected(life)
    await connected(life)
    await told(outside)
    if is_repeated(outside):
        await published(world, life)
    else:
        await life.until(lambda: outside.happened in world.numbers())
    await ended(life)

    lost, several_ids, several_events = world.outcome()
    assert (several_ids, several_events) == ([], [])
    assert lost == [] or not is_repeated(outside)
    editions = [one.edition for one in world.published]
    assert editions == sorted(editions) or outside.side_by_side
    assert editions[-1] == EDITS
    assert world.most_readers <= 1
    assert {*range(1, EVENTS + 1)} & {*world.numbers(life.number)} == set(), "it went on where it was"


@held_to(DEATH)
async def test_owners_that_die_at_any_moment_lose_and_double_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, died = world.outside, 0
    first = await begun(world)
    await outside.tell()
    await published(world, first)
    await ended(first)
    for _ in range(outside.deaths):
        monkeypatch.setattr(buffer, "AT_ONCE", world.chance.choice(BATCHES))
        life = world.begin(die_at=world.moment())
        await live(world, life)
        died += life.dying.is_set()
        await life.kill()
    last = world.begin()
    await connected(last)
    await told(outside)
    if is_repeated(outside):
        await published(world, last)
    else:
        await last.until(lambda: outside.happened in world.numbers())
    await ended(last)

    lost, several_ids, several_events = world.outcome()
    assert (several_ids, several_events) == ([], [])
    assert lost == [] or not is_repeated(outside)
    assert died >= outside.deaths // 2, "the others lived until there was nothing more to do"


@held_to(CREDENTIALS)
async def test_credentials_that_are_revoked_are_told_and_nothing_is_lost_when_they_are_given_back(world: World) -> None:
    outside = world.outside
    life = await begun(world)
    await told(outside)
    await published(world, life)

    await outside.revoke()
    if is_repeated(outside):
        await told(outside)
    await life.until(lambda: life.status.state in DOWN and outside.refusal in words_of(life))
    assert outside.refusal

    await outside.restore()
    await connected(life)
    await told(outside)
    await published(world, life)
    await ended(life)
    assert world.outcome() == ([], [], [])


@held_to(STOP)
async def test_a_clean_stop_publishes_and_acknowledges_what_was_read_and_no_more(world: World) -> None:
    outside = world.outside
    life = await begun(world)
    life.back.clear()
    await told(outside)
    count = outside.at_a_time or EVENTS
    await life.until(lambda: life.waiting >= count)

    stopping = asyncio.create_task(life.stop())
    await asyncio.sleep(0)
    life.back.set()
    await stopping
    assert {*world.numbers()} == {*range(1, count + 1)}
    if outside.acknowledges:
        await life.until(lambda: outside.acknowledged() == {*range(1, count + 1)})
    before = list(world.published)
    if is_repeated(outside):
        await told(outside)
    await life.kill()
    assert world.published == before

    after = world.begin()
    await connected(after)
    await told(outside, 1)
    await published(world, after)
    assert world.outcome() == ([], [], [])


@held_to(SECRECY)
async def test_no_secret_is_in_a_status_a_log_or_a_record(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="headgate")
    outside = world.outside
    life = await begun(world)
    await told(outside)
    await published(world, life)
    if outside.refusal:
        await outside.revoke()
        await told(outside, 1)
        await life.until(lambda: life.status.error is not None)
        await life.kill()
        await world.begin().until(lambda: bool(world.statuses[-1].error))
        await outside.opened.aclose()  # there is nobody any more
        gone = world.begin()
        await gone.until(lambda: gone.status.error is not None)

    shown = [f"{one.to_record()}" for one in [*world.statuses, *(one.status for one in world.lives)]]
    logged = [f"{one.getMessage()} {one.__dict__}" for one in caplog.records if not one.name.startswith(OTHERS)]
    written = [one.record.decode() for one in world.published] + [f"{one}" for one in world.letters]
    assert [one for one in (*shown, *logged, *written) if SECRET in one] == []
    assert len(written) >= EVENTS


DOWN: Final = (State.FAILED, State.BACKING_OFF)
OTHERS: Final = ("aiohttp.access", "aiohttp.server", "websockets.server")
"""Who serves in the worlds outside."""


def test_every_kind_has_a_world_or_a_reason_why_not() -> None:
    known = {world.kind for world in WORLDS.values()} | {name.partition(" ")[0] for name in ABSENT}

    assert {*registry.ours()} <= known
    assert [name for name in WORLDS if name.partition(" ")[0] != WORLDS[name].kind] == []


def test_every_waiver_is_of_a_world_and_a_rule_and_names_tests_that_are_there() -> None:
    rules = {IDENTITY, BROKER, AWAY, EDIT, DEATH, CREDENTIALS, STOP, SECRECY}

    assert [one for one in WAIVERS if one[0] not in WORLDS or one[1] not in rules] == []
    for reason in (*WAIVERS.values(), *ABSENT.values()):
        assert len(reason) > 20
        assert [name for name in re.findall(r"tests/[\w/]+\.py", reason) if not (ROOT / name).exists()] == []
