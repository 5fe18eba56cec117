import headgate


def test_these_names_and_no_others_are_promised() -> None:
    assert sorted(headgate.__all__) == [
        *("BatchBy", "CatchUp", "Context", "DefinitionError", "DuplicateStepKey", "Event", "EventTimeout"),
        *("HeadgateError", "Order", "Payload", "Reject", "RetryLater", "Schedule", "Step", "StepError", "Workflow"),
        *("WorkflowTimeout", "workflow"),
    ]
    assert all(hasattr(headgate, name) for name in headgate.__all__)
