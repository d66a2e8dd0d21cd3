"""All settings of `tocsin.toml`: frozen structs; the descriptions are those of the reference page."""

import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from monitor.dashboard_settings import Dashboard
from monitor.notify.settings import Notify
from monitor.sensor_settings import SensorChannel, Sensors
from monitor.topics import Topics

TEN_YEARS_S = 315_576_000  # longer is a mistake, and what stays below fits into nanoseconds of 64 bits
Delay = Annotated[float, Meta(ge=0, le=TEN_YEARS_S)]
Seconds = Annotated[float, Meta(gt=0, le=TEN_YEARS_S)]
Above0 = Annotated[float, Meta(gt=0, le=1e9)]
Count = Annotated[int, Meta(ge=1)]


class Input(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How readings are read: encoding and time unit where a message does not say, and the rules of event time."""

    encoding: Annotated[
        Literal["json", "arrow"], Meta(description="Encoding of messages without a `content-type` header.")
    ] = "json"
    ts_unit: Annotated[
        Literal["s", "ms", "us", "ns"],
        Meta(
            description="Unit of numeric event times in JSON, and of integers in Arrow. Texts and Arrow timestamps "
            "have their own unit, and a zone: a time without one is a dead letter."
        ),
    ] = "ms"
    allowed_lateness_s: Annotated[
        Delay, Meta(description="How far behind an asset's newest event time a reading may come and still count.")
    ] = 0.0
    revision_bound_s: Annotated[
        Delay,
        Meta(
            description="How far behind an asset's newest event time a late reading may come and still revise an "
            "incident that was published; longer than `allowed_lateness_s`, or 0: never."
        ),
    ] = 0.0
    idle_limit_s: Annotated[
        Seconds,
        Meta(description="An asset so far behind its partition's stream time is idle: its last windows are closed."),
    ] = 300.0
    reset_after_s: Annotated[
        Seconds,
        Meta(
            description="An asset so far behind its partition's stream time is reset: what its open windows hold is "
            "forgotten, and no restart reads back to it. At least `idle_limit_s`."
        ),
    ] = 86_400.0
    max_ahead_s: Annotated[
        Seconds, Meta(description="A reading so far ahead of its record's timestamp is a dead letter.")
    ] = 3600.0
    max_message_bytes: Annotated[Count, Meta(description="Larger messages are dead letters.")] = 1_048_576
    max_assets: Annotated[Count, Meta(description="New assets beyond so many are dead letters.")] = 100_000


class Delivery(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The consumer group, and how this process is known in it; batches, waits and limits."""

    client: Annotated[
        Literal["kafka-python", "confluent"],
        Meta(description="The Kafka client; confluent, which is librdkafka, costs less CPU time and is an extra."),
    ] = "kafka-python"
    guarantee: Annotated[
        Literal["exactly-once", "at-least-once"],
        Meta(description="Outputs and positions in one transaction; or without any, and repeated after a crash."),
    ] = "exactly-once"
    transaction_timeout_s: Annotated[
        Annotated[float, Meta(ge=1, le=900)],
        Meta(
            description="A transaction left open by a crash is ended by the broker after so long; one that works "
            "takes about seven round trips, which must fit."
        ),
    ] = 20.0
    group: Annotated[str, Meta(description="Name of the consumer group.")] = "tocsin"
    instance_id: Annotated[
        str | None,
        Meta(description="This process in the group: unique, and the same after a restart. None: the host's name."),
    ] = None
    assignor: Annotated[
        Literal["range", "roundrobin", "sticky", "cooperative-sticky"],
        Meta(description="How the group divides partitions; the embedded broker knows no cooperative one."),
    ] = "cooperative-sticky"
    session_timeout_s: Annotated[
        Seconds, Meta(description="A member that is silent for so long loses its partitions.")
    ] = 10.0
    leave_on_stop: Annotated[
        bool,
        Meta(
            description="Leave the group on an orderly end, so that others take over at once; for scaling down. "
            "Without, a restart within the session timeout keeps its partitions."
        ),
    ] = False
    max_wait_s: Annotated[Seconds, Meta(description="Longest wait for messages in one poll.")] = 0.1
    max_poll_records: Annotated[Count, Meta(description="Most messages in one batch, when behind.")] = 50_000
    max_batch_bytes: Annotated[
        Count, Meta(description="Most bytes of messages in one batch, when behind; as many again are read ahead.")
    ] = 16_777_216
    max_batch_share: Annotated[
        Annotated[float, Meta(gt=0, le=1)],
        Meta(description="A batch may take so much of the time that the group allows between two polls."),
    ] = 0.25
    snapshots: Annotated[
        str | None,
        Meta(
            description="Folder for snapshots of open windows, relative to this file, with which a restart reads "
            "little again. A cache: it may be deleted at any time. None: no snapshots."
        ),
    ] = None
    snapshot_interval_s: Annotated[
        Seconds, Meta(description="Shortest time from one snapshot of a partition to the next.")
    ] = 60.0
    scores_message_bytes: Annotated[Count, Meta(description="A message of scores larger than this is split.")] = (
        524_288
    )


class Telemetry(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where /metrics, /healthz and /readyz answer (port 0: any free one; -1: nowhere), and the log level."""

    host: Annotated[str, Meta(description="Address that telemetry listens on.")] = "127.0.0.1"
    port: Annotated[
        Annotated[int, Meta(ge=-1, le=65535)],
        Meta(description="Port of /metrics, /healthz and /readyz; 0: any free one, -1: none."),
    ] = 9464
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severe event that is logged.")
    ] = "info"


class Scoring(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How models are run: provider, threads, and the largest batch of windows in one call."""

    provider: Annotated[
        Literal["auto", "cpu", "cuda"],
        Meta(description="What runs the models; auto: CUDA where a device answers, else the CPU."),
    ] = "auto"
    device: Annotated[Annotated[int, Meta(ge=0)], Meta(description="Which CUDA device, counted from 0.")] = 0
    threads: Annotated[
        Annotated[int, Meta(ge=0)], Meta(description="Threads of one model call; 0: as many as there are cores.")
    ] = 1
    max_batch: Annotated[Count, Meta(description="Most windows in one model call.")] = 4096
    follow_s: Annotated[
        Delay,
        Meta(description="How often models' pointers and files are looked at for another one; 0: at start only."),
    ] = 5.0
    slowest_ms: Annotated[
        Above0, Meta(description="A new model that takes longer for a window, on average of recent ones, is refused.")
    ] = 10.0


class Detector(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model watching the assets that match a glob or all of the given labels."""

    name: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")],
        Meta(description="Name of the detector, on scores and incidents."),
    ]
    model: Annotated[
        Annotated[str, Meta(min_length=1)],
        Meta(description="Model directory (its current version is served) or .onnx file, relative to this file."),
    ]
    assets: Annotated[tuple[str, ...], Meta(description="Globs of asset names.")] = ()
    labels: Annotated[
        dict[str, str], Meta(description="Labels that an asset must have; an alternative to globs.")
    ] = field(default_factory=dict)
    alarm_budget_per_day: Annotated[
        Above0, Meta(description="False alarms accepted per asset and day; the limit follows from it.")
    ] = 1.0
    on_delay_s: Annotated[
        Delay,
        Meta(description="How long, in event time, windows must stay over the limit before the alarm is raised."),
    ] = 0.0
    off_delay_s: Annotated[
        Delay, Meta(description="How long they must stay under the clear limit before it is cleared.")
    ] = 0.0
    deadband: Annotated[
        Annotated[float, Meta(ge=1, le=1e9)] | None,
        Meta(
            description="The clear limit's p-value is so many times the raise limit's; left out, the model's own "
            "clear limit holds, or 2 times where it has none."
        ),
    ] = None
    density: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=64)], Annotated[int, Meta(ge=1, le=64)]] | None,
        Meta(
            description="[n, m]: n of the last m windows over the limit raise the alarm, instead of windows in a row "
            "for `on_delay_s`."
        ),
    ] = None
    latching: Annotated[
        bool, Meta(description="An alarm whose condition is gone stands until it is acknowledged and reset.")
    ] = False
    priorities: Annotated[
        tuple[Above0, Above0],
        Meta(
            description="From how many times the limit, times the asset's weight, an incident's peak makes it of "
            "medium and of high priority."
        ),
    ] = (2.0, 5.0)
    runbook: Annotated[str, Meta(description="Address of what to do, where the asset has none.")] = ""
    action: Annotated[str, Meta(description="Recommended action, where the asset has none.")] = ""
    publish_expected: Annotated[
        bool, Meta(description="Publish each channel's seen and expected mean with every score.")
    ] = False


class Asset(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of the assets that match a glob."""

    match: Annotated[str, Meta(description="Glob of asset names.")]
    labels: Annotated[
        dict[str, str], Meta(description="Labels, such as site and line; on incidents, and for detectors to match.")
    ] = field(default_factory=dict)
    weight: Annotated[
        Above0, Meta(description="How grave the asset's incidents are: their severity is multiplied by it.")
    ] = 1.0
    runbook: Annotated[str, Meta(description="Address of what to do, on its incidents.")] = ""
    action: Annotated[str, Meta(description="Recommended action, on its incidents.")] = ""


class Alarms(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What people may do to alarms."""

    longest_shelving_s: Annotated[Seconds, Meta(description="Longest time for which an alarm may be shelved.")] = (
        43_200.0
    )


Clock = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Suppression(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When alarms are suppressed by design: scored and logged, and nobody is called."""

    name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=128)], Meta(description="Name of the rule, on its events.")
    ]
    assets: Annotated[tuple[str, ...], Meta(description="Globs of asset names.")] = ()
    labels: Annotated[
        dict[str, str], Meta(description="Labels that an asset must have; an alternative to globs.")
    ] = field(default_factory=dict)
    detectors: Annotated[tuple[str, ...], Meta(description="Names of detectors; none: all.")] = ()
    begin: Annotated[
        datetime.datetime | None, Meta(description="From when, in event time with a zone, as in maintenance.")
    ] = None
    end: Annotated[datetime.datetime | None, Meta(description="Until when, in event time.")] = None
    daily: Annotated[
        tuple[Clock, Clock] | None,
        Meta(description='From and to at every day, such as ["22:00", "06:00"], over midnight too.'),
    ] = None
    days: Annotated[
        tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...],
        Meta(description="The days on which `daily` begins; none: every day."),
    ] = ()
    timezone: Annotated[str, Meta(description="Time zone of `daily`.")] = "UTC"
    channel: Annotated[
        str, Meta(description="A channel whose level tells, such as a speed: asset off, start-up.")
    ] = ""
    below: Annotated[float | None, Meta(description="Suppressed while the channel's mean is below this.")] = None
    above: Annotated[float | None, Meta(description="Suppressed while the channel's mean is above this.")] = None
    hold_s: Annotated[
        Delay, Meta(description="How long after its condition the rule still holds, in event time: the start-up.")
    ] = 0.0


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. `kafka` goes to the client as it stands, secrets resolved."""

    kafka: dict[str, Any] = field(default_factory=lambda: {"bootstrap_servers": "127.0.0.1:9092"})
    topics: Topics = Topics()
    input: Input = Input()
    delivery: Delivery = Delivery()
    scoring: Scoring = Scoring()
    telemetry: Telemetry = Telemetry()
    dashboard: Dashboard = Dashboard()
    detectors: tuple[Detector, ...] = ()
    assets: tuple[Asset, ...] = ()
    alarms: Alarms = Alarms()
    suppressions: tuple[Suppression, ...] = ()
    sensors: Sensors = Sensors()
    channels: tuple[SensorChannel, ...] = ()
    notify: Notify = Notify()
