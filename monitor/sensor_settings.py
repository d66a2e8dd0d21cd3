"""Settings of sensor faults: `[sensors]`, how they are judged and told; `[[channels]]`, what sensors can measure."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Judged = Literal["dead", "flat", "stuck", "out_of_range", "dropping_out"]
Share = Annotated[float, Meta(ge=0, le=1)]


class Sensors(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a sensor is not to be believed, and what becomes of its values then."""

    mask: Annotated[
        bool,
        Meta(
            description="Hide the values of faulty sensors from the model: a broken sensor then rings no alarm, and "
            "the rest of the asset goes on being watched. Without, faults are told only."
        ),
    ] = True
    fault_after: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)],
        Meta(description="Windows in a row that show a fault before it is told, and good ones before it is over."),
    ] = 3
    flat: Annotated[
        Annotated[float, Meta(ge=0, le=1e6)],
        Meta(
            description="A channel is flat that stays at one value for so many times as long as training ever saw; "
            "0: never."
        ),
    ] = 3.0
    flat_share: Annotated[
        Share,
        Meta(
            description="And for no less than this share of a window, and eight values. What stood still in training "
            "for longer than a window shows is never found flat; `tocsin check` says of how many channels."
        ),
    ] = 0.25
    dropout_share: Annotated[
        Annotated[float, Meta(gt=0, le=1)],
        Meta(
            description="A channel is dropping out that loses so much of what usually arrives, of the values of a "
            "window; 1: never."
        ),
    ] = 0.5
    late_share: Annotated[
        Annotated[float, Meta(gt=0, le=1000)],
        Meta(
            description="An asset's clock is in trouble when late readings come, from one window to the next, in so "
            "many buckets for each that was on time."
        ),
    ] = 0.5


DEFAULT = Sensors()


class SensorChannel(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of the channels that match a glob; of several, a later one has its way with limits and unit."""

    match: Annotated[Annotated[str, Meta(min_length=1)], Meta(description="Glob of channel names.")]
    assets: Annotated[str, Meta(description="Glob of the assets that this is about.")] = "*"
    low: Annotated[
        float | None,
        Meta(
            description="Lowest value that the sensor can measure; what is below is hidden, and a fault if it lasts."
        ),
    ] = None
    high: Annotated[float | None, Meta(description="Highest value that it can measure.")] = None
    unit: Annotated[str, Meta(description="Unit, where the model file has none.")] = ""
    off: Annotated[
        tuple[Judged, ...],
        Meta(
            description="Verdicts that are not to be given, by any entry that matches: dead, flat, stuck, "
            "out_of_range, dropping_out. For a valve that may stay shut: flat and stuck."
        ),
    ] = ()
