"""`tocsin check`: configuration, models and broker, each verdict on a line."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import msgspec
from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaTopicPartition

from monitor.assembly import assemble, model_of
from monitor.calibration import promised
from monitor.cluster import addresses, partition_counts, reader_settings
from monitor.columns import Messages
from monitor.config import Config, secret
from monitor.errors import InvalidConfiguration, TocsinError
from monitor.notify.sending import answers
from monitor.notify.settings import revealed
from monitor.routes import UNWATCHED
from monitor.scoring import Model
from monitor.sensor_rules import sensor_rules
from monitor.transport.clients import client_version, require

SAMPLE = 500  # newest messages of each partition that are looked at


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was looked at, whether it is as it should be, and a sentence."""

    what: str
    good: bool
    text: str


def check(config: Config) -> Iterator[Verdict]:
    """Verdicts on models, client and broker of a configuration that could be read."""
    models: dict[str, Model] = {}
    if not config.detectors:
        yield Verdict("detectors", False, "there is none; add a [[detectors]] table")
    for detector in config.detectors:
        try:
            models[detector.name] = model = model_of(config, detector)
        except TocsinError as error:
            yield Verdict(f"model of {detector.name}", False, str(error))
            continue
        meta, budget = model.metadata, detector.alarm_budget_per_day
        kept = promised(meta.calibration, budget)
        yield Verdict(
            f"model of {detector.name}",
            True,
            f"{meta.name} version {meta.version}, {meta.family}, {len(meta.channels)} channels, "
            f"window {meta.window} x {meta.period_ms} ms, stride {meta.stride}, on {model.provider}"
            + (
                f"; the alarm budget is {kept:.3g} a day, not {budget:.3g}: the model was calibrated on "
                f"{1 / kept:.3g} days, and nothing rarer than one alarm in these can be promised"
                if kept > budget
                else ""
            ),
        )
    yield from _sensors(config, models)
    yield from _endpoints(config)
    client = _client(config)
    yield client
    yield _crc32c()
    if not client.good:
        return
    try:
        counts = partition_counts(config)
    except TocsinError as error:
        yield Verdict("broker", False, str(error))
        return
    yield Verdict("broker", True, f"answers at {addresses(config.kafka)}")
    yield from _topics(config, counts)
    if counts.get(config.topics.readings) and len(models) == len(config.detectors) > 0:
        yield _assets(config, models, counts[config.topics.readings])


def _sensors(config: Config, models: dict[str, Model]) -> Iterator[Verdict]:
    """Whether models know what faulty sensors are told by, and whether rules are about channels that they have."""
    for detector, model in models.items():
        unknown = [channel.name for channel in model.metadata.channels if channel.flat_s is None]
        if unknown:
            yield Verdict(
                f"sensors of {detector}",
                True,
                f"the model file does not know how long {len(unknown)} of its channels may stand still: they are "
                "never found flat, nor dropping out; fit it again for that",
            )
        rules = sensor_rules(model.metadata, config.sensors, ())
        lasting = int((rules.flat_rows == 0).sum()) - len(unknown) if config.sensors.flat else 0
        if lasting > 0:
            yield Verdict(
                f"sensors of {detector}",
                True,
                f"{lasting} of {len(model.metadata.channels)} channels stood still in training for so long that a "
                "window cannot tell whether they are flat",
            )
    if len(models) == len(config.detectors):
        yield from _channels(config, {name for model in models.values() for name in model.metadata.channel_names})


def _channels(config: Config, names: set[str]) -> Iterator[Verdict]:
    """Whether what is said of channels is about some that the models have."""
    for rule in config.suppressions:
        if rule.channel and rule.channel not in names:
            yield Verdict(f"suppression '{rule.name}'", False, f"no model has a channel '{rule.channel}'")
    for entry in config.channels:
        if not any(fnmatchcase(name, entry.match) for name in names):
            yield Verdict(f"channels '{entry.match}'", False, "no model has a channel of such a name")


def _endpoints(config: Config) -> Iterator[Verdict]:
    """Whether those who are notified answer, as far as that can be asked without an alarm."""
    for endpoint in config.notify.endpoints:
        what = f"endpoint {endpoint.name}"
        try:
            yield Verdict(what, True, answers(revealed(endpoint, secret)))
        except TocsinError as error:
            yield Verdict(what, False, str(error))


def _client(config: Config) -> Verdict:
    try:
        require(config)
        return Verdict("client", True, client_version(config))
    except InvalidConfiguration as error:
        return Verdict("client", False, str(error))


def _crc32c() -> Verdict:
    try:
        import crc32c

        return Verdict("crc32c", True, f"checksums in hardware: {bool(crc32c.hardware_based)}")
    except ImportError:
        return Verdict("crc32c", False, "not installed: reading is five to nine times slower; pip install crc32c")


def _topics(config: Config, counts: dict[str, int]) -> Iterator[Verdict]:
    """Whether each topic is there, and whether those that follow the input's partitions have as many."""
    needed = counts.get(config.topics.readings, 0)
    for name in msgspec.structs.astuple(config.topics):
        found = counts.get(name, 0)
        if not found:
            yield Verdict(f"topic {name}", False, "is missing; create it with `tocsin topics`")
        elif name in (config.topics.scores, config.topics.state) and found < needed:
            yield Verdict(f"topic {name}", False, f"has {found} partitions, the input {needed}: it needs as many")
        elif name == config.topics.commands and found != 1:
            yield Verdict(f"topic {name}", False, f"has {found} partitions: it must have one")
        else:
            yield Verdict(f"topic {name}", True, f"{found} partition{'s' if found > 1 else ''}")


def _assets(config: Config, models: dict[str, Model], partitions: int) -> Verdict:
    """Sample the newest messages of every partition: an asset belongs on one."""
    seen: dict[str, set[int]] = {}
    unwatched: set[str] = set()
    dead = readings = 0
    for partition in range(partitions):
        decoder = assemble(config, models).decoder
        columns = decoder.decode(_newest(config, partition))
        dead += len(columns.dead)
        readings += len(columns.ts)
        for name, route in zip(decoder.assets.names, decoder.assets.routes, strict=True):
            seen.setdefault(name, set()).add(partition)
            if route == UNWATCHED:
                unwatched.add(name)
    twice = sorted(name for name, homes in seen.items() if len(homes) > 1)
    sampled = f"{readings} readings of {len(seen)} assets sampled, {dead} dead letters"
    if twice:
        names = ", ".join(twice[:5])
        return Verdict("readings", False, f"{sampled}; on more than one partition: {names}; key them by asset")
    if unwatched:
        names = ", ".join(sorted(unwatched)[:5])
        sampled += f"; {len(unwatched)} watched by no detector: {names}"
    # some may be left out on purpose; that nothing at all is watched is a glob that matches nothing
    return Verdict("readings", not seen or len(unwatched) < len(seen), f"{sampled}; each asset on one partition")


def _newest(config: Config, partition: int) -> Messages:
    where = KafkaTopicPartition(config.topics.readings, partition)
    consumer = KafkaConsumer(**reader_settings(config.kafka))
    try:
        consumer.assign([where])
        end = consumer.end_offsets([where])[where]
        consumer.seek(where, max(end - SAMPLE, consumer.beginning_offsets([where])[where]))
        records = []
        while consumer.position(where) < end:
            records += consumer.poll(timeout_ms=1000).get(where, [])
    finally:
        consumer.close()
    return Messages(
        where.topic,
        partition,
        end,
        [record.offset for record in records],
        [record.timestamp for record in records],
        [record.value for record in records],
        [record.key for record in records],
        [record.headers for record in records],
    )
