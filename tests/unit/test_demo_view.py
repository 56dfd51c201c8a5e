"""What the demo shows of a moment."""

from emailsync.demonstration.view import Moment, as_line


def test_refusals_are_shown_with_what_their_status_means() -> None:
    moment = Moment(
        elapsed_s=1,
        queues=(),
        accounts={},
        tenants=(),
        types=(),
        refusals={"503": 2, "404": 1},
        messages_per_s=0,
        is_quiet=False,
    )

    assert "refused by providers: 1 x 404 Not Found, 2 x 503 Service Unavailable" in as_line(moment)
