from app.observe.health import WAITING, Check, Health, Report


def test_nothing_is_up_before_it_was_reported() -> None:
    report = Health("kafka", "partitions").report()
    assert report == Report(checks=dict.fromkeys(("kafka", "partitions"), Check(up=False, detail=WAITING)))
    assert not report.ready


def test_a_process_is_ready_when_all_that_it_needs_is_up() -> None:
    health = Health("kafka", "partitions")
    health.up("kafka")
    assert not health.report().ready
    health.up("partitions", "8 of 8")
    assert health.report().ready


def test_what_went_down_is_told_with_its_remedy() -> None:
    health = Health("kafka")
    health.up("kafka")
    health.down("kafka", "no answer for 10 s", remedy="Look at the broker's log")
    assert health.report().record() == {
        "ready": False,
        "checks": {"kafka": {"up": False, "detail": "no answer for 10 s", "remedy": "Look at the broker's log"}},
    }


def test_a_process_that_needs_nothing_is_ready() -> None:
    assert Health().report().record() == {"ready": True, "checks": {}}


def test_a_report_does_not_change_afterwards() -> None:
    health = Health("kafka")
    before = health.report()
    health.up("kafka")
    assert not before.ready
