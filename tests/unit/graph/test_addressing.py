"""Targets below the API's version, and links that lead to the configured API or nowhere."""

import pytest

from emailsync.providers.graph.addressing import (
    ForeignLink,
    LinkCutter,
    segment,
    target,
    user_root,
)

API = "https://graph.microsoft.com"
PATH = "/me/mailFolders('AQMk')/messages/delta?$deltatoken=abc-_%2B="


@pytest.mark.parametrize(
    ("api", "link"),
    [
        (API, f"{API}/v1.0{PATH}"),
        (API, f"https://GRAPH.microsoft.com:443/v1.0{PATH}"),
        (f"{API}/", f"{API}/v1.0{PATH}"),
        ("https://proxy.example/graph", f"https://proxy.example/graph/v1.0{PATH}"),
        ("http://127.0.0.1:8080", f"http://127.0.0.1:8080/v1.0{PATH}"),
    ],
)
def test_a_link_of_the_api_is_cut_down_to_its_target(api: str, link: str) -> None:
    assert LinkCutter(api).cut(link) == PATH


@pytest.mark.parametrize(
    "link",
    [
        f"http://graph.microsoft.com/v1.0{PATH}",
        f"https://graph.microsoft.com.attacker.example/v1.0{PATH}",
        f"https://graph.microsoft.com:8443/v1.0{PATH}",
        f"https://graph.microsoft.com@attacker.example/v1.0{PATH}",
        f"https://someone@graph.microsoft.com/v1.0{PATH}",
        f"//graph.microsoft.com/v1.0{PATH}",
        f"https://graph.microsoft.com/beta{PATH}",
        f"https://graph.microsoft.com/v1.0evil{PATH}",
        f"https://graph.microsoft.com:port/v1.0{PATH}",
        "https://[::1/v1.0/me",
        "file:///v1.0/me",
        f"{API}/v1.0/me\0",
        f"{API}/v1.0/me\ud800",
        f"{API}/v1.0/me\r\nHost: attacker.example",
        f"{API}/v1.0/me?{'x' * 40_000}",
        PATH,
        "",
    ],
)
def test_a_link_to_anywhere_else_is_refused(link: str) -> None:
    with pytest.raises(ForeignLink):
        LinkCutter(API).cut(link)


def test_names_and_ids_cannot_leave_their_segment() -> None:
    assert user_root("a/b?c@example.test") == "/users/a%2Fb%3Fc@example.test"
    assert segment("AAMk_-=/..?x") == "AAMk_-=%2F..%3Fx"


def test_options_are_written_as_odata_has_them() -> None:
    options = {"$select": "id,isRead", "$orderby": "receivedDateTime desc"}

    assert target("/me/messages", options) == (
        "/me/messages?$select=id,isRead&$orderby=receivedDateTime%20desc"
    )
    assert target("/me/messages") == "/me/messages"
