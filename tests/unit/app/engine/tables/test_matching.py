from app.engine.tables.matching import _REMEMBERED, Cancellers, Matcher
from app.engine.values.known import Definition
from tests.unit.app.engine.partition import flow


def test_an_event_triggers_the_workflows_with_a_pattern_that_matches_in_the_order_of_their_ids() -> None:
    flows = {
        one.id: one
        for one in (flow("c", "orders/*"), flow("a", ["orders/created", "x"]), flow("b", "**"), flow("d", "orders"))
    }
    matcher = Matcher(flows.values())

    assert matcher.of("orders/created") == (flows["a"], flows["b"], flows["c"])
    assert matcher.of("orders/created/eu") == (flows["b"],)
    assert matcher.of("x") == (flows["a"], flows["b"])


def test_topics_without_end_are_not_remembered_without_end() -> None:
    matcher = Matcher([flow("a", "orders/*")])

    for n in range(2 * _REMEMBERED + 1):
        assert len(matcher.of(f"orders/{n}")) == 1

    assert len(matcher._known) <= _REMEMBERED


def test_workflows_whose_runs_an_event_cancels_are_found_by_topic_and_code_counts_before_definitions() -> None:
    assert Cancellers.of_all([flow("a"), flow("b")]) is None
    newer = Definition.of(flow("a", cancel_on="x"))
    found = Cancellers.of_all([flow("b", cancel_on=["orders/*", "x"]), flow("a", cancel_on="y"), newer])
    assert found is not None
    assert [found.of(topic) for topic in ("x", "orders/cancelled", "y", "z", "x")] == [
        ("b",),
        ("b",),
        ("a",),
        (),
        ("b",),
    ]
