"""The OpenAPI 3.1 document, made of the table and of the models it names.

Only errors that an entry can answer are in it: they follow from who may ask and what is sent.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from emailsync.api.endpoints import Access, Content, Endpoint, Nothing, Table
from emailsync.api.problems import MEDIA_TYPE, Problem

REFERENCE: Final = "#/components/schemas/{model}"
CONVERTOR: Final = re.compile(r":\w+\}")
JSON: Final = "application/json"
NOT_MODIFIED: Final = 304
GONE: Final = 410

Mode = Literal["validation", "serialization"]
Schemas = Mapping[tuple[Any, Mode], Mapping[str, Any]]  #: by model


def document(table: Table) -> Mapping[str, Any]:
    """Return the document."""
    schemas, definitions = models_json_schema(
        sorted(_models(table), key=lambda model: (model[0].__name__, model[1])),
        ref_template=REFERENCE,
    )
    paths: dict[str, dict[str, Any]] = {}
    for entry in table:
        operations = paths.setdefault(CONVERTOR.sub("}", entry.route), {})
        for method in entry.methods:
            operations[method.lower()] = _operation(entry, method, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "emailsync",
            "version": version("emailsync"),
            "description": "Accounts, tenants and synced mail. Errors are problem+json, RFC 9457.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def statuses(entry: Endpoint) -> Sequence[int]:
    """Return every status that an entry answers."""
    return sorted({*entry.answers, *_implied(entry)})


def _content(entry: Endpoint, status: int) -> Content:
    return None if status == NOT_MODIFIED else entry.answers.get(status, MEDIA_TYPE)


def _implied(entry: Endpoint) -> Iterator[int]:
    yield 500
    yield 503
    if entry.method == "GET":
        yield NOT_MODIFIED
    if entry.access is not Access.OPEN:
        yield from (401, 429)
    if entry.access not in {Access.OPEN, Access.ANY_TOKEN}:
        yield 403
    if entry.path is not Nothing:
        yield 404
    if entry.query.model_config.get("extra") == "forbid":
        yield 422  # an unknown name in the query
    if entry.body is not Nothing:
        yield from (408, 413, 415)


def _models(table: Table) -> set[tuple[type[BaseModel], Mode]]:
    found: set[tuple[type[BaseModel], Mode]] = {(Problem, "serialization")}
    for entry in table:
        found |= {(model, "validation") for model in (entry.path, entry.query, entry.body)}
        found |= {
            (content, "serialization")
            for content in entry.answers.values()
            if isinstance(content, type)
        }
    return found


def _operation(entry: Endpoint, method: str, schemas: Schemas) -> Mapping[str, Any]:
    name = f"{method.lower()} {CONVERTOR.sub('}', entry.route)}"
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", name).strip("_"),
        "summary": entry.summary,
        "responses": {
            str(status): _response(status, _content(entry, status), schemas)
            for status in statuses(entry)
        },
    }
    if set(entry.answers) == {GONE}:
        operation["deprecated"] = True
    if parameters := [*_parameters(entry.path, "path"), *_parameters(entry.query, "query")]:
        operation["parameters"] = parameters
    if entry.access is not Access.OPEN:
        operation["security"] = [{"bearer": []}]
    if entry.body is not Nothing:
        schema = schemas[entry.body, "validation"]
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return operation


def _parameters(model: type[BaseModel], place: str) -> Iterator[Mapping[str, Any]]:
    """Yield the fields of a model; one that may be left out has no null in an address."""
    described = model.model_json_schema(ref_template=REFERENCE)
    for name, schema in described.get("properties", {}).items():
        parameter = {
            "name": name,
            "in": place,
            "required": name in described.get("required", ()),
            "schema": _without_null(schema),
        }
        if "description" in schema:
            parameter["description"] = schema["description"]
        yield parameter


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {
        **{key: value for key, value in schema.items() if key not in {"anyOf", "default"}},
        **kinds[0],
    }


def _response(status: int, content: Content, schemas: Schemas) -> Mapping[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if content == MEDIA_TYPE:
        response["content"] = {MEDIA_TYPE: {"schema": schemas[Problem, "serialization"]}}
    elif isinstance(content, str):
        response["content"] = {content: {}}
    elif content is not None:
        response["content"] = {JSON: {"schema": schemas[content, "serialization"]}}
    return response
