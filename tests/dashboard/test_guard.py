"""Who may ask the server for anything, and who a login makes somebody."""

import pytest
from starlette.datastructures import Headers

from dashboard.access import local_user, role_of, user_of
from dashboard.guard import inline_scripts, objection
from monitor.dashboard_settings import Dashboard

SETTINGS = Dashboard(
    role_claim="realm_access.roles", roles={"control": "operator", "staff": "viewer", "tocsin": "engineer"}
)


def refused(path: str = "/", origins: tuple[str, ...] = (), local_only: bool = True, **headers: str) -> bool:
    """Whether a request is refused."""
    given = Headers({"host": "127.0.0.1:8501"} | headers)
    sentence, status = objection(path, given, origins, local_only)
    assert bool(sentence) == (status == 403)
    return bool(sentence)


@pytest.mark.parametrize(
    "path", ["/_stcore/metrics", "/app/_stcore/metrics", "//_stcore/metrics", "/_stcore/agent/mcp"]
)
def test_what_streamlit_shows_to_anyone_is_closed(path: str) -> None:
    assert refused(path)


def test_pages_of_other_sites_are_refused_and_ours_are_not() -> None:
    assert refused(origin="http://evil.example")
    assert refused(origin="http://127.0.0.1:9999")
    assert refused(origin="null")
    assert not refused(origin="http://127.0.0.1:8501")
    assert not refused()


def test_an_address_behind_a_proxy_is_ours_where_it_is_configured() -> None:
    ours = ("https://tocsin.example",)
    assert not refused(origins=ours, local_only=False, origin="https://tocsin.example", host="inside:8501")
    assert refused(origins=ours, local_only=False, origin="https://tocsin.example.evil", host="inside:8501")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8501", "127.0.0.1.evil.example", "", "[::1", "10.0.0.1"]
)
def test_without_a_login_only_names_of_this_machine_are_answered(host: str) -> None:
    assert refused(host=host)
    assert not refused(host=host, local_only=False)


@pytest.mark.parametrize("host", ["localhost:8501", "127.0.0.1", "[::1]:8501", "LOCALHOST"])
def test_this_machine_may_be_called_by_any_of_its_names(host: str) -> None:
    assert not refused(host=host)


def test_the_script_that_stands_in_streamlits_page_is_allowed_by_its_hash() -> None:
    assert inline_scripts()
    assert all(each.startswith("sha256-") and len(each) == 51 for each in inline_scripts())


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"realm_access": {"roles": ["staff", "control", "others"]}}, "operator"),
        ({"realm_access": {"roles": "tocsin"}}, "engineer"),
        ({"realm_access.roles": ["staff"]}, "viewer"),
        ({"realm_access": {"roles": ["others"]}}, None),
        ({"realm_access": {"roles": {"tocsin": True}}}, None),
        ({"realm_access": ["tocsin"]}, None),
        ({"roles": ["tocsin"]}, None),
        ({}, None),
    ],
)
def test_the_highest_role_that_a_claim_gives_counts_and_none_is_the_default(
    claims: dict[str, object], role: str | None
) -> None:
    assert role_of(claims, SETTINGS) == role


def test_a_login_is_a_person_until_it_is_too_long_ago() -> None:
    claims = {"is_logged_in": True, "iat": 1000.0, "email": "ann@plant", "sub": "42"}
    found = user_of(claims, SETTINGS, 1000.0 + 24 * 3600)
    assert found is not None
    assert (found.name, found.role, found.login) == ("ann@plant", None, True)
    assert user_of(claims, SETTINGS, 1001.0 + 24 * 3600) is None
    assert user_of(claims | {"is_logged_in": False}, SETTINGS, 1000.0) is None
    assert user_of({}, SETTINGS, 1000.0) is None


def test_an_address_that_nobody_has_verified_names_nobody() -> None:
    claims = {"is_logged_in": True, "email": "boss@plant", "email_verified": False, "sub": "42"}
    found = user_of(claims, SETTINGS, 0.0)
    assert found is not None
    assert found.name == "42"


def test_without_a_login_everybody_is_the_engineer_at_this_machine() -> None:
    assert (local_user().role, local_user().login) == ("engineer", False)
