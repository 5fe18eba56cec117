import headgate


def test_these_names_and_no_others_are_promised() -> None:
    assert sorted(headgate.__all__) == [
        *("BatchBy", "CatchUp", "ChildError", "Context", "DefinitionError", "DuplicateStepKey", "Event"),
        *(
            "EventTimeout",
            "HeadgateError",
            "HistoryMismatch",
            "Met",
            "Order",
            "Payload",
            "Reject",
            "RetryLater",
            "Schedule",
            "Sources",
            "Step",
        ),
        *("StepError", "TooManyWaits", "Workflow", "WorkflowTimeout", "after", "event_on", "workflow"),
    ]
    assert all(hasattr(headgate, name) for name in headgate.__all__)
