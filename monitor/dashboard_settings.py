"""Settings of the table `[dashboard]` of `tocsin.toml`: who may do what, and where daemons answer."""

from typing import Annotated

from msgspec import Meta, Struct, field

from monitor.commands import Role

Positive = Annotated[float, Meta(gt=0, le=31_536_000)]


class Dashboard(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the dashboard's server needs to know; who logs in is known from Streamlit's secrets, `[auth]`."""

    role_claim: Annotated[
        str,
        Meta(
            description="Claim of the identity token that tells a person's role: a text or a list; "
            "dots lead into tables, as in `realm_access.roles`."
        ),
    ] = "roles"
    roles: Annotated[
        dict[str, Role],
        Meta(
            description="Role (viewer, operator or engineer) for each value of that claim; of several the highest. "
            "Who has none may not see anything."
        ),
    ] = field(default_factory=dict)
    user_claim: Annotated[
        str, Meta(description="Claim that names a person in commands; the subject where there is none.")
    ] = "email"
    login_h: Annotated[
        Positive, Meta(description="A login is good for so many hours, then the provider is asked again.")
    ] = 24.0
    ticket_s: Annotated[
        Annotated[float, Meta(ge=5, le=3600)],
        Meta(description="A page's ticket to live data is good for so long; the page renews it before."),
    ] = 300.0
    ticket_secret: Annotated[
        str | dict[str, str],
        Meta(
            description="Key that tickets are signed with, at least 16 characters; needed only where several "
            "processes serve the same address. Empty: a random one for each process."
        ),
    ] = ""
    origins: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses of the dashboard beside the one in the request's Host header, such as "
            "`https://tocsin.example`, where a proxy changes that header."
        ),
    ] = ()
    daemons: Annotated[
        tuple[str, ...], Meta(description="Addresses of daemons' telemetry, such as `http://127.0.0.1:9464`.")
    ] = ()
