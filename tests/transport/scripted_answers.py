"""A scripted broker's answer to each kind of request: the error that was asked for, or what its log says."""

from collections.abc import Callable
from typing import Any

from kafka.errors import BrokerResponseError, UnknownTopicOrPartitionError
from kafka.protocol import consumer, metadata, producer

from tests.transport.scripted_log import ScriptedLog

HOST = "127.0.0.1"
DATA, TRANSACTIONS, GROUPS = range(3)

# Versions as of Kafka 2.7: old enough to be simple, new enough for fencing by generation and static members.
VERSIONS = {
    "Produce": 8, "Fetch": 12, "ListOffsets": 5, "Metadata": 9, "OffsetCommit": 8, "OffsetFetch": 7,
    "FindCoordinator": 3, "JoinGroup": 7, "Heartbeat": 4, "LeaveGroup": 4, "SyncGroup": 5, "ApiVersions": 3,
    "InitProducerId": 4, "AddPartitionsToTxn": 2, "AddOffsetsToTxn": 2, "EndTxn": 2, "TxnOffsetCommit": 3,
}  # fmt: skip


def _message(name: str) -> Any:
    return next(getattr(home, name) for home in (consumer, metadata, producer) if hasattr(home, name))


REQUESTS = {name: _message(f"{name}Request") for name in VERSIONS}
RESPONSES = {name: _message(f"{name}Response") for name in VERSIONS}
NAMES = {request.API_KEY: name for name, request in REQUESTS.items()}


def _code(call: Callable[..., object], *arguments: Any) -> int:
    """The error code that a call ends with."""
    try:
        call(*arguments)
    except BrokerResponseError as error:
        return int(error.errno)
    return 0


class Answers:
    """Answers of all nodes; with an error nothing is done."""

    def __init__(self, log: ScriptedLog, ports: list[int]) -> None:
        self._log, self._ports = log, ports

    def __call__(self, name: str, request: Any, error: int = 0) -> Any:
        """The response to a request."""
        fields = getattr(self, f"_{name}")(RESPONSES[name], request, error)
        return RESPONSES[name](version=request.API_VERSION, **fields)

    # ----------------------------------------------------------------------------------------------- the cluster

    def _ApiVersions(self, response, request, error):  # noqa: N802 (named as the requests are)
        keys = [
            response.ApiVersion(api_key=REQUESTS[name].API_KEY, min_version=0, max_version=version)
            for name, version in VERSIONS.items()
        ]
        return {"error_code": error, "api_keys": keys}

    def _Metadata(self, response, request, error):  # noqa: N802
        asked = self._log.topics if request.topics is None else [topic.name for topic in request.topics]
        return {
            "brokers": [
                response.MetadataResponseBroker(node_id=node, host=HOST, port=port)
                for node, port in enumerate(self._ports)
            ],
            "cluster_id": "scripted",
            "controller_id": DATA,
            "topics": [self._topic(response.MetadataResponseTopic, name, error) for name in asked],
        }

    def _topic(self, kind: Any, name: str, error: int) -> Any:
        count = self._log.topics.get(name, 0)
        partitions = [
            kind.MetadataResponsePartition(partition_index=number, leader_id=DATA, replica_nodes=[0], isr_nodes=[0])
            for number in range(count)
        ]
        unknown = 0 if count else UnknownTopicOrPartitionError.errno
        return kind(error_code=error or unknown, name=name, partitions=partitions)

    def _FindCoordinator(self, response, request, error):  # noqa: N802
        node = TRANSACTIONS if request.key_type == 1 else GROUPS
        return {"error_code": error, "node_id": node, "host": HOST, "port": self._ports[node]}

    # ----------------------------------------------------------------------------------------------- transactions

    def _InitProducerId(self, response, request, error):  # noqa: N802
        if error:
            return {"error_code": error, "producer_id": -1, "producer_epoch": -1}
        made: tuple[int, int] = (-1, -1)

        def init() -> None:
            nonlocal made
            made = self._log.init(request.transactional_id, (request.producer_id, request.producer_epoch))

        return {"error_code": _code(init), "producer_id": made[0], "producer_epoch": made[1]}

    def _AddPartitionsToTxn(self, response, request, error):  # noqa: N802
        who = (
            request.v3_and_below_transactional_id,
            request.v3_and_below_producer_id,
            request.v3_and_below_producer_epoch,
        )
        code = error or _code(self._log.add, *who)
        topic = response.AddPartitionsToTxnTopicResult
        results = [
            topic(
                name=each.name,
                results_by_partition=[
                    topic.AddPartitionsToTxnPartitionResult(partition_index=number, partition_error_code=code)
                    for number in each.partitions
                ],
            )
            for each in request.v3_and_below_topics
        ]
        return {"results_by_topic_v3_and_below": results}

    def _AddOffsetsToTxn(self, response, request, error):  # noqa: N802
        who = request.transactional_id, request.producer_id, request.producer_epoch
        return {"error_code": error or _code(self._log.add, *who)}

    def _Produce(self, response, request, error):  # noqa: N802
        topic = response.TopicProduceResponse

        def partition(name: str, each: Any) -> Any:
            batch = bytes(each.records)
            code = error or _code(self._log.append, (name, each.index), request.transactional_id, batch)
            return topic.PartitionProduceResponse(index=each.index, error_code=code, base_offset=0)

        answers = [
            topic(name=each.name, partition_responses=[partition(each.name, one) for one in each.partition_data])
            for each in request.topic_data
        ]
        return {"responses": answers}

    def _TxnOffsetCommit(self, response, request, error):  # noqa: N802
        topic = response.TxnOffsetCommitResponseTopic
        who = request.transactional_id, request.producer_id, request.producer_epoch
        member = request.generation_id, request.member_id

        def partition(name: str, each: Any) -> Any:
            at = (name, each.partition_index), (each.committed_offset, each.committed_metadata)
            code = error or _code(self._log.add_offsets, *who, request.group_id, member, *at)
            return topic.TxnOffsetCommitResponsePartition(partition_index=each.partition_index, error_code=code)

        answers = [
            topic(name=each.name, partitions=[partition(each.name, one) for one in each.partitions])
            for each in request.topics
        ]
        return {"topics": answers}

    def _EndTxn(self, response, request, error):  # noqa: N802
        who = request.transactional_id, request.producer_id, request.producer_epoch
        return {"error_code": error or _code(self._log.end, *who, bool(request.committed))}

    # ----------------------------------------------------------------------------------------------------- groups

    def _JoinGroup(self, response, request, error):  # noqa: N802
        if error:
            return {"error_code": error}
        group = self._log.join(request.group_id, request.member_id, request.group_instance_id)
        protocol = request.protocols[0]
        alone = response.JoinGroupResponseMember(
            member_id=group.member, group_instance_id=group.instance, metadata=protocol.metadata
        )
        return {
            "generation_id": group.generation,
            "protocol_type": request.protocol_type,
            "protocol_name": protocol.name,
            "leader": group.member,
            "member_id": group.member,
            "members": [alone],
        }

    def _SyncGroup(self, response, request, error):  # noqa: N802
        code = error or _code(self._log.check_member, request.group_id, request.generation_id, request.member_id)
        if code:
            return {"error_code": code}
        own = [each.assignment for each in request.assignments if each.member_id == request.member_id]
        names = {"protocol_type": request.protocol_type, "protocol_name": request.protocol_name}
        return {"assignment": bytes(own[0]) if own else b"", **names}

    def _Heartbeat(self, response, request, error):  # noqa: N802
        who = request.group_id, request.generation_id, request.member_id
        return {"error_code": error or _code(self._log.check_member, *who)}

    def _LeaveGroup(self, response, request, error):  # noqa: N802
        return {"error_code": error}

    def _OffsetCommit(self, response, request, error):  # noqa: N802
        topic = response.OffsetCommitResponseTopic
        who = request.group_id, request.generation_id_or_member_epoch, request.member_id
        code = error or _code(self._log.check_member, *who)

        def partition(name: str, each: Any) -> Any:
            if not code:
                at = each.committed_offset, each.committed_metadata
                self._log.committed[request.group_id, (name, each.partition_index)] = at
            return topic.OffsetCommitResponsePartition(partition_index=each.partition_index, error_code=code)

        answers = [
            topic(name=each.name, partitions=[partition(each.name, one) for one in each.partitions])
            for each in request.topics
        ]
        return {"topics": answers}

    def _OffsetFetch(self, response, request, error):  # noqa: N802
        topic = response.OffsetFetchResponseTopic

        def partition(name: str, number: int) -> Any:
            where, at = (request.group_id, (name, number), bool(request.require_stable)), (-1, "")
            code = error or _code(self._log.position, *where)
            if not code:
                at = self._log.position(*where)
            return topic.OffsetFetchResponsePartition(
                partition_index=number, committed_offset=at[0], metadata=at[1], error_code=code
            )

        answers = [
            topic(name=each.name, partitions=[partition(each.name, number) for number in each.partition_indexes])
            for each in request.topics or []
        ]
        return {"topics": answers, "error_code": 0}

    # ---------------------------------------------------------------------------------------------------- reading

    def _ListOffsets(self, response, request, error):  # noqa: N802
        topic = response.ListOffsetsTopicResponse

        def partition(name: str, each: Any) -> Any:
            end = self._log.ends.get((name, each.partition_index), 0)
            return topic.ListOffsetsPartitionResponse(
                partition_index=each.partition_index, error_code=error, offset=0 if each.timestamp == -2 else end
            )

        answers = [
            topic(name=each.name, partitions=[partition(each.name, one) for one in each.partitions])
            for each in request.topics
        ]
        return {"topics": answers}

    def _Fetch(self, response, request, error):  # noqa: N802
        topic = response.FetchableTopicResponse

        def partition(name: str, each: Any) -> Any:
            end = self._log.ends[name, each.partition]
            records = b"" if error else self._log.fetch((name, each.partition), each.fetch_offset)
            return topic.PartitionData(
                partition_index=each.partition,
                error_code=error,
                high_watermark=end,
                last_stable_offset=end,
                log_start_offset=0,
                aborted_transactions=[],
                records=records,
            )

        answers = [
            topic(topic=each.topic, partitions=[partition(each.topic, one) for one in each.partitions])
            for each in request.topics
        ]
        return {"responses": answers}
