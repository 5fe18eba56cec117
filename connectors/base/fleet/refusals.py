"""What Kafka will not forgive: trying again does not help before somebody gives rights. It ends the process."""

from typing import Final

from aiokafka import errors

FOR_GOOD: Final = (
    errors.AuthenticationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.InvalidTopicError,
    errors.TopicAuthorizationFailedError,
)
