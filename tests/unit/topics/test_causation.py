from topics import causation


def test_what_a_run_sends_names_run_step_and_event() -> None:
    assert causation.headers("charge:0a", "e-1", "größe") == [
        ("causation_id", b"charge:0a"),
        ("causation_step", "größe".encode()),
        ("causation_event", b"e-1"),
    ]


def test_what_no_step_sends_names_none() -> None:
    assert causation.headers("charge:0a", "e-1", None) == [
        ("causation_id", b"charge:0a"),
        ("causation_event", b"e-1"),
    ]
