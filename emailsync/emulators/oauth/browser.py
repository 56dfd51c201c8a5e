"""What a person sees of the issuers: the page to sign in and agree, and the administrators' page.

GET shows the page. Its form, POSTed to the same address, sends the browser back to the client with
a code, or with why there is none (RFC 6749 section 4.1.2, RFC 9207). Whoever signs in may untick
scopes, or be somebody else than the client expects.
"""

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from emailsync.emulators.oauth import google, microsoft
from emailsync.emulators.oauth.ledger import Code, OAuthLedger

GOOGLE_PATH = "/google/authorize"
MICROSOFT_PATH = "/{tenant}/oauth2/v2.0/authorize"
ADMIN_PATH = "/{tenant}/v2.0/adminconsent"
SEE_OTHER = 303
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"></head>
<body style="font: 1rem/1.6 system-ui; max-width: 34rem; margin: 3rem auto; padding: 0 1rem">
<h1>{title}</h1>{content}</body></html>
"""
FORM = """<form method="post">{fields}
<p><button name="decision" value="allow">Allow</button>
<button name="decision" value="deny">Deny</button></p></form>
"""


class BadClient(Exception):
    """The browser is sent nowhere: who asked, or the place to return to, is not registered."""


def browser_routes(ledger: OAuthLedger) -> Sequence[Route]:
    """Return the pages' routes."""
    return [
        _page(GOOGLE_PATH, _Consent(ledger, google.ISSUER)),
        _page(MICROSOFT_PATH, _Consent(ledger, microsoft.ISSUER)),
        _page(ADMIN_PATH, _AdminConsent(ledger)),
    ]


def _page(path: str, page: "_Consent | _AdminConsent") -> Route:
    async def answer(request: Request) -> Response:
        form = parse_qsl((await request.body()).decode())
        try:
            return page.decide(request, form) if request.method == "POST" else page.show(request)
        except BadClient as error:
            content = f"<p>{escape(str(error))}</p>"
            return HTMLResponse(PAGE.format(title="Access blocked", content=content), 400)

    return Route(path, answer, methods=["GET", "POST"])


class _Consent:
    """The page of a mailbox's owner."""

    def __init__(self, ledger: OAuthLedger, issuer: str) -> None:
        self._ledger = ledger
        self._issuer = issuer

    def show(self, request: Request) -> Response:
        asked = request.query_params
        _check_client(self._ledger, asked)
        who = sorted({*self._ledger.people, *self._ledger.users})
        options = "".join(f'<option value="{escape(each)}">' for each in who)
        scopes = "".join(
            f'<label><input type="checkbox" name="scope" value="{escape(scope)}" checked> '
            f"{escape(scope)}</label><br>"
            for scope in asked.get("scope", "").split()
        )
        fields = (
            f'<p><label>Sign in as <input name="address" list="people" size="40" required '
            f'value="{escape(asked.get("login_hint", ""))}"></label></p>'
            f'<datalist id="people">{options}</datalist>'
            f"<p>{escape(asked['client_id'])} wants to:</p><p>{scopes}</p>"
        )
        title = f"Emulated {self._issuer.title()}"
        return HTMLResponse(PAGE.format(title=title, content=FORM.format(fields=fields)))

    def decide(self, request: Request, form: Sequence[tuple[str, str]]) -> Response:
        asked, fields = request.query_params, dict(form)
        _check_client(self._ledger, asked)
        if asked.get("response_type") != "code" or asked.get("code_challenge_method") != "S256":
            return self._back(request, {"error": "invalid_request"})
        if fields.get("decision") != "allow":
            return self._back(request, {"error": "access_denied"})
        address = fields.get("address", "")
        if address not in self._ledger.people | self._ledger.users.keys():
            raise BadClient(f"There is no {address} here.")
        scopes = {value for name, value in form if name == "scope"}
        code = self._ledger.agree(
            Code(
                issuer=self._issuer,
                address=address,
                client_id=asked["client_id"],
                redirect_uri=asked["redirect_uri"],
                challenge=asked.get("code_challenge", ""),
                scopes=frozenset(scopes.intersection(asked.get("scope", "").split())),
                expires_at_s=self._ledger.clock() + self._ledger.code_life_s,
            )
        )
        return self._back(request, {"code": code})

    def _back(self, request: Request, answer: Mapping[str, str]) -> Response:
        issuer = self._ledger.answers_as
        if issuer is None and self._issuer == google.ISSUER:  # Microsoft does not say (2026-11)
            issuer = str(request.base_url).rstrip("/")
        return _sent_back(request, {**answer, **({} if issuer is None else {"iss": issuer})})


class _AdminConsent:
    """The page of a Microsoft directory's administrator."""

    def __init__(self, ledger: OAuthLedger) -> None:
        self._ledger = ledger

    def show(self, request: Request) -> Response:
        _check_client(self._ledger, request.query_params)
        fields = (
            f"<p>{escape(request.query_params['client_id'])} wants to read every mailbox of "
            f"{escape(request.path_params['tenant'])}.</p>"
        )
        title = "Emulated Microsoft: permissions for your organisation"
        return HTMLResponse(PAGE.format(title=title, content=FORM.format(fields=fields)))

    def decide(self, request: Request, form: Sequence[tuple[str, str]]) -> Response:
        _check_client(self._ledger, request.query_params)
        directory = request.path_params["tenant"]
        if dict(form).get("decision") != "allow":
            return _sent_back(request, {"error": "access_denied"})
        self._ledger.directories.add(directory)
        return _sent_back(request, {"admin_consent": "True", "tenant": directory})


def _check_client(ledger: OAuthLedger, asked: Mapping[str, str]) -> None:
    client = ledger.clients.get(asked.get("client_id", ""))
    if client is None:
        raise BadClient("The OAuth client was not found.")
    back = asked.get("redirect_uri", "")
    if not back or (client.redirect_uris is not None and back not in client.redirect_uris):
        raise BadClient("Error 400: redirect_uri_mismatch")


def _sent_back(request: Request, answer: Mapping[str, str]) -> Response:
    asked = request.query_params
    fields = {**answer, **({"state": asked["state"]} if "state" in asked else {})}
    return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(fields)}", SEE_OTHER)
