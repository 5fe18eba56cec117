"""What ends a process at once, and what a broker may say that is there again in a moment."""

from aiokafka import errors

from connectors.base.fleet.refusals import FOR_GOOD


def test_missing_rights_are_for_good_and_an_absent_broker_is_not() -> None:
    forgiven = [errors.KafkaConnectionError, errors.NodeNotReadyError, errors.UnknownTopicOrPartitionError]

    assert issubclass(errors.TopicAuthorizationFailedError, FOR_GOOD)
    assert [one for one in forgiven if issubclass(one, FOR_GOOD)] == []
