"""Files that pages hand to people: the audit trail, and training reports. Both demand the page's ticket.

The ticket comes in the `authorization` header, hence never stands in an address that somebody logs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from dashboard.audit import audit_csv, audit_rows
from dashboard.facts import facts_of
from dashboard.models import report_path
from dashboard.shared import Shared
from dashboard.tickets import NoTicket

# What a training wrote is shown to people, and trusted by nobody: no script of it runs, wherever it is opened.
REPORT_HEADERS = {
    "content-security-policy": "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'",
    "cache-control": "no-store",
}


@dataclass(slots=True)
class Files:
    """The routes under `files/`."""

    shared: Shared
    clock: Callable[[], float] = time.time

    def routes(self) -> list[BaseRoute]:
        """The addresses, behind the same guard as everything."""
        return [Route("/files/audit.csv", self.audit), Route("/files/report", self.report)]

    def audit(self, request: Request) -> Response:
        """The whole trail that is held, as CSV."""
        if refused := self._refuse(request):
            return refused
        facts = facts_of(self.shared.plant.book)
        text = audit_csv(audit_rows(facts.commands, facts.decisions, self.clock()))
        headers = {"content-disposition": 'attachment; filename="tocsin-audit.csv"', "cache-control": "no-store"}
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

    def report(self, request: Request) -> Response:
        """The training report of a version that lies in a detector's folder."""
        if refused := self._refuse(request):
            return refused
        asked = (request.query_params.get(name, "") for name in ("detector", "version"))
        path = report_path(self.shared.shelves.latest() or self.shared.shelves.ask(), *asked)
        if path is None:
            return PlainTextResponse("There is no such report.\n", 404)
        return FileResponse(path, media_type="text/html", headers=REPORT_HEADERS)

    def _refuse(self, request: Request) -> Response | None:
        """An answer for who may not have the file; None for who may."""
        kind, _, ticket = request.headers.get("authorization", "").partition(" ")
        try:
            self.shared.tickets.check(ticket if kind.lower() == "bearer" else "", self.clock())
        except NoTicket as error:
            return PlainTextResponse(f"{error}\n", 401, headers={"www-authenticate": "Bearer"})
        return None
