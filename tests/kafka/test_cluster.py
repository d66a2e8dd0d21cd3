"""The cluster that other tests rely on: what was acknowledged survives a node that is killed."""

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from tests.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_acknowledged_messages_survive_the_death_of_one_of_three_nodes(
    kafka_cluster_of_three: KafkaCluster, topic: str
) -> None:
    cluster = kafka_cluster_of_three
    admin = KafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 3}}, wait_for_metadata=True)
    leader = admin.describe_topics([topic])[0]["partitions"][0]["leader_id"]
    admin.close()
    producer = KafkaProducer(bootstrap_servers=cluster.bootstrap, acks="all")
    producer.send(topic, b"before").get(timeout=30)
    cluster.kill(leader)
    producer.send(topic, b"after").get(timeout=60)
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=cluster.bootstrap, group_id=None)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    values: list[bytes] = []
    while len(values) < 2:
        values += [record.value for records in consumer.poll(timeout_ms=1000).values() for record in records]
    consumer.close()
    assert values == [b"before", b"after"]
    cluster.start(leader)
