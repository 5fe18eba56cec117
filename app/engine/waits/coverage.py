"""What a registry has asked all partitions to tell it (T), and which waits that covers."""

from app.engine.tables.registry import Head, Registry
from app.engine.tables.state import State
from app.engine.tables.wait import HeadKey, Wait, covering, head_asked, is_of_topic, topic_key
from topics import asked, journal, reserved


def may_tell(key: HeadKey, head: HeadKey) -> bool:
    """Whether what was asked for tells of events that waits of a head may meet."""
    return head_asked(key) in (head, (head[0], True), ("", head[1]), ("", True))


def is_confirmed(state: State, registry: Registry, wait: Wait) -> bool:
    for key in covering(wait.asked.topic):
        head = registry.heads.get(key)
        if head is not None:
            since_ms = head.confirmed_ms(state.limits.partitions)
            if since_ms is not None and since_ms <= wait.asked.since_ms:
                return True
    return False


def need(state: State, registry: Registry, wait: Wait) -> None:
    """Ask all partitions for the events since the wait's time, unless they are asked for already."""
    since_ms = wait.asked.since_ms
    heads = [registry.heads[key] for key in covering(wait.asked.topic) if key in registry.heads]
    if any(one.since_ms <= since_ms for one in heads):
        return
    key = _wanted(state, registry, wait)
    head = registry.heads.get(key)
    if head is None:
        head = registry.heads[key] = Head(key, since_ms)
    else:  # twice as far back as is needed, so that runs that are older and older do not ask each time
        head.since_ms = max(0, since_ms - (head.since_ms - since_ms))
    state.touched_waits[journal.head_key(key[0], pattern=key[1])] = head
    for partition in range(state.limits.partitions):
        state.ask(partition, asked.Interest(key[0], key[1], head.since_ms))


def _wanted(state: State, registry: Registry, wait: Wait) -> HeadKey:
    """Return what to ask for: the topic, so that nobody tells of others; of many topics their head, of many heads all.

    A topic that is waited for once, as that of a suspended step, is not worth a question to all partitions.
    """
    narrow, head, everything = topic_key(wait.asked.topic), wait.head, ("", wait.head[1])
    alike = [one for one in registry.heads if one[1] == head[1]]
    if everything in registry.heads or (
        len(alike) >= state.limits.heads and not registry.heads.keys() & {head, narrow}
    ):
        return everything
    if wait.pattern is not None or head in registry.heads or wait.asked.topic.startswith(reserved.PREFIX):
        return head
    topics = [one for one in alike if is_of_topic(one) and head_asked(one) == head]
    return narrow if narrow in topics or len(topics) < state.limits.topics_of_a_head else head
