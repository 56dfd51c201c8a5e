"""The ledger for other processes, over HTTP under `/_control`.

* `GET /_control/tokens` -> what was given out and refused: `{"granted": {address: N}, "refused":
  {error: N}, "refresh_tokens": {address: [...]}}`
* `PUT /_control/clients/{id}` `{"secret": ..., "unauthorised": false}` changes or adds a client
* `PUT /_control/users/{address}` `{"client_id": ..., "scopes": [...], "refresh_token": ...}` lets
  the owner agree (anew) -> `{"refresh_token": ...}`; with `{"error": {"error": ...,
  "description": ...}}` each refresh is answered by that error, until `{"error": null}`
* `POST /_control/users/{address}/revoke` and `.../expire` kill all tokens, or the access tokens
* `PUT /_control/service-accounts/{email}` `{"scopes": [...]}` -> the key of a new one, in JSON
* `PATCH /_control/issuer` `{"rotation": ..., "access_token_life_s": S}`
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emailsync.emulators.control import NO_CONTENT
from emailsync.emulators.faults import CONTROL_PREFIX
from emailsync.emulators.oauth.ledger import Client, OAuthLedger, Rotation

USERS = f"{CONTROL_PREFIX}/users/{{address}}"


@dataclass(frozen=True, slots=True)
class OAuthControl:
    """The endpoints; see above."""

    ledger: OAuthLedger

    def routes(self) -> Sequence[Route]:
        """Return the routes of all of them."""
        return [
            Route(f"{CONTROL_PREFIX}/tokens", self.read, methods=["GET"]),
            Route(f"{CONTROL_PREFIX}/clients/{{id}}", self.put_client, methods=["PUT"]),
            Route(
                f"{CONTROL_PREFIX}/service-accounts/{{email}}",
                self.put_service_account,
                methods=["PUT"],
            ),
            Route(f"{CONTROL_PREFIX}/issuer", self.patch, methods=["PATCH"]),
            Route(USERS, self.put_user, methods=["PUT"]),
            Route(f"{USERS}/revoke", self.revoke, methods=["POST"]),
            Route(f"{USERS}/expire", self.expire, methods=["POST"]),
        ]

    async def read(self, _request: Request) -> Response:
        """Tell what was given out and refused."""
        refresh_tokens = defaultdict(list)
        for token, each in self.ledger.refresh_tokens.items():
            refresh_tokens[each.address].append(token)
        return JSONResponse(
            {
                "granted": dict(self.ledger.granted),
                "refused": dict(self.ledger.refused),
                "refresh_tokens": refresh_tokens,
            }
        )

    async def put_client(self, request: Request) -> Response:
        """Change or add a client."""
        self.ledger.clients[request.path_params["id"]] = Client(**await request.json())
        return Response(status_code=NO_CONTENT)

    async def put_user(self, request: Request) -> Response:
        """Let the owner agree, or answer each refresh by an error."""
        order, address = await request.json(), request.path_params["address"]
        if "error" in order:
            self.ledger.users[address].error = order["error"]
            return Response(status_code=NO_CONTENT)
        return JSONResponse({"refresh_token": self.ledger.add_user(address, **order)})

    async def revoke(self, request: Request) -> Response:
        """Kill all tokens of an owner."""
        self.ledger.revoke(request.path_params["address"])
        return Response(status_code=NO_CONTENT)

    async def expire(self, request: Request) -> Response:
        """Kill an owner's access tokens."""
        self.ledger.expire_access_tokens(request.path_params["address"])
        return Response(status_code=NO_CONTENT)

    async def put_service_account(self, request: Request) -> Response:
        """Make a service account."""
        scopes = (await request.json())["scopes"]
        key = self.ledger.add_service_account(request.path_params["email"], scopes)
        return Response(key, media_type="application/json")

    async def patch(self, request: Request) -> Response:
        """Change how the issuer behaves."""
        order = await request.json()
        self.ledger.rotation = Rotation(order.get("rotation", self.ledger.rotation))
        self.ledger.access_token_life_s = order.get(
            "access_token_life_s", self.ledger.access_token_life_s
        )
        return Response(status_code=NO_CONTENT)
