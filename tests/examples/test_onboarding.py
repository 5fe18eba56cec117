"""examples/onboarding: a month in milliseconds."""

from examples.onboarding.workflows import onboarding, send_mail
from headgate.testing import Service


def mails(service: Service) -> list[str]:
    return [one.data["template"] for one in service.events("mails/wanted")]


def test_a_user_who_does_nothing_gets_every_mail_at_its_time() -> None:
    with Service(onboarding, send_mail) as service:
        service.send("users/signed_up", {"id": "ada", "mail": "ada@example.com"}, key="ada")
        assert mails(service) == ["welcome"]
        service.advance(hours=1)
        assert mails(service) == ["welcome", "tip"]
        service.advance(days=3)
        assert mails(service)[2:] == ["first-steps"]
        service.restart()
        service.advance(days=7)
        assert mails(service)[2:] == ["first-steps", "what-others-do"]
        service.advance(days=20)
        assert [one.result for one in service.results(onboarding)] == [{"active": False}]
        assert [one.result for one in service.results(send_mail)] == [
            f"{template} to ada@example.com"
            for template in ("welcome", "tip", "first-steps", "what-others-do", "shall-we-talk")
        ]


def test_a_user_who_becomes_active_is_left_alone() -> None:
    with Service(onboarding) as service:
        service.send("users/signed_up", {"id": "ada", "mail": "ada@example.com"}, key="ada")
        service.advance(days=4)
        service.send("users/ada/active", {}, key="ada")
        (result,) = service.results()
        assert result.result == {"active": True, "since": "2026-01-05T00:00:00.000Z"}
        service.advance(days=30)
        assert mails(service) == ["welcome", "tip", "first-steps"]


def test_a_user_who_was_active_within_the_first_hour_gets_no_reminder() -> None:
    with Service(onboarding) as service:
        service.send("users/signed_up", {"id": "ada", "mail": "ada@example.com"}, key="ada")
        service.send("users/ada/active", {}, key="ada")
        service.advance(hours=1)
        assert [one.result["active"] for one in service.results()] == [True]
        assert mails(service) == ["welcome", "tip"]
