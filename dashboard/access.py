"""Who somebody is and what role that gives: from the claims of a login, or from the machine where there is none."""

import getpass
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from monitor.commands import Role
from monitor.dashboard_settings import Dashboard

RANKS: tuple[Role, ...] = ("viewer", "operator", "engineer")
LONGEST_NAME = 256


@dataclass(frozen=True, slots=True)
class User:
    """A person at a page; without a `role` that person may see nothing. `login` tells whether somebody vouches."""

    name: str
    role: Role | None
    login: bool = True


def local_user() -> User:
    """Who everybody is where no login is configured: the server then listens to this machine only."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "local"
    return User(name, "engineer", login=False)


def user_of(claims: Mapping[str, Any], settings: Dashboard, now_s: float) -> User | None:
    """The person of an identity token; None where nobody is logged in, or the login is too long ago."""
    issued = claims.get("iat")
    is_over = isinstance(issued, int | float) and now_s - issued > settings.login_h * 3600
    if not claims.get("is_logged_in") or is_over:
        return None
    return User(_name(claims, settings.user_claim), role_of(claims, settings))


def _name(claims: Mapping[str, Any], claim: str) -> str:
    """What to call a person in commands; an address that the provider has not verified is anybody's."""
    is_doubtful = claim == "email" and claims.get("email_verified") is False
    name = (None if is_doubtful else claims.get(claim)) or claims.get("sub") or "unknown"
    return str(name)[:LONGEST_NAME]


def role_of(claims: Mapping[str, Any], settings: Dashboard) -> Role | None:
    """The highest role that the values of the claim are mapped to; None where none is."""
    given = [settings.roles[value] for value in _values(claims, settings.role_claim) if value in settings.roles]
    return max(given, key=RANKS.index, default=None)


def _values(claims: Mapping[str, Any], path: str) -> Iterable[str]:
    """Texts at a claim: one, or those of a list. A name with dots is tried as it stands first, then as a path."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return [found]
    return [value for value in found if isinstance(value, str)] if isinstance(found, list | tuple) else []
