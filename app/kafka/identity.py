"""Which topic of which cluster: ids that a topic made anew under its old name does not have.

By librdkafka, because aiokafka speaks no metadata request that has topic ids. Needs Describe on the topic, no more.
"""

import asyncio
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from app.kafka.clients import confluent_config
from app.kafka.follow import Identify, TopicIdentity
from app.settings import KafkaSettings

ANSWER_SECONDS: Final = 10.0


def identify_with(kafka: KafkaSettings) -> Identify:
    """Make the `identify` of a Follower. It raises ConnectionError for what trying again may cure."""

    async def identify(topic: str) -> TopicIdentity:
        return await asyncio.to_thread(_identity, kafka, topic)

    return identify


def _identity(kafka: KafkaSettings, topic: str) -> TopicIdentity:
    client = AdminClient(confluent_config(kafka))
    try:
        cluster_id = client.list_topics(topic, timeout=ANSWER_SECONDS).cluster_id
        asked = client.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_SECONDS)
        found = asked[topic].result(timeout=ANSWER_SECONDS)
    except KafkaException as raised:
        error: KafkaError = raised.args[0]
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise PermissionError(f"Kafka does not let this user describe {topic}; grant it with an ACL") from raised
        raise ConnectionError(f"Kafka did not say which topic {topic} is: {error.str()}") from raised
    return TopicIdentity(cluster_id=str(cluster_id), topic_id=str(found.topic_id))
