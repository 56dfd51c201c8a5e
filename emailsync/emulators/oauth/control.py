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

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emailsync.emulators.control import NO_CONTENT
from emailsync.emulators.faults import CONTROL_PREFIX
from emailsync.emulators.oauth.ledger import Client, OAuthLedger, Rotation

USERS = f"{CONTROL_PREFIX}/users/{{address}}"


def oauth_control_routes(ledger: OAuthLedger) -> Sequence[Route]:
    """Return the routes; see above."""

    async def read(_request: Request) -> Response:
        refresh_tokens = defaultdict(list)
        for token, each in ledger.refresh_tokens.items():
            refresh_tokens[each.address].append(token)
        return JSONResponse(
            {
                "granted": dict(ledger.granted),
                "refused": dict(ledger.refused),
                "refresh_tokens": refresh_tokens,
            }
        )

    async def put_client(request: Request) -> Response:
        ledger.clients[request.path_params["id"]] = Client(**await request.json())
        return Response(status_code=NO_CONTENT)

    async def put_user(request: Request) -> Response:
        order, address = await request.json(), request.path_params["address"]
        if "error" in order:
            ledger.users[address].error = order["error"]
            return Response(status_code=NO_CONTENT)
        return JSONResponse({"refresh_token": ledger.add_user(address, **order)})

    async def revoke(request: Request) -> Response:
        ledger.revoke(request.path_params["address"])
        return Response(status_code=NO_CONTENT)

    async def expire(request: Request) -> Response:
        ledger.expire_access_tokens(request.path_params["address"])
        return Response(status_code=NO_CONTENT)

    async def put_service_account(request: Request) -> Response:
        scopes = (await request.json())["scopes"]
        key = ledger.add_service_account(request.path_params["email"], scopes)
        return Response(key, media_type="application/json")

    async def patch(request: Request) -> Response:
        order = await request.json()
        ledger.rotation = Rotation(order.get("rotation", ledger.rotation))
        ledger.access_token_life_s = order.get("access_token_life_s", ledger.access_token_life_s)
        return Response(status_code=NO_CONTENT)

    return [
        Route(f"{CONTROL_PREFIX}/tokens", read, methods=["GET"]),
        Route(f"{CONTROL_PREFIX}/clients/{{id}}", put_client, methods=["PUT"]),
        Route(f"{CONTROL_PREFIX}/service-accounts/{{email}}", put_service_account, methods=["PUT"]),
        Route(f"{CONTROL_PREFIX}/issuer", patch, methods=["PATCH"]),
        Route(USERS, put_user, methods=["PUT"]),
        Route(f"{USERS}/revoke", revoke, methods=["POST"]),
        Route(f"{USERS}/expire", expire, methods=["POST"]),
    ]
