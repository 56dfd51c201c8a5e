"""The stream of an IMAP connection, cut anywhere, says the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from emailsync.providers.imap.answers import Answer
from emailsync.providers.imap.framing import Framer, FramingError
from emailsync.providers.imap.parse import parse

atoms = st.sampled_from(
    b"* FETCH UID 7 FLAGS ( ) \\Seen BODY[] {5} NIL LIST SEARCH STATUS INBOX OK [UIDNEXT"
    b" VANISHED 1:4294967295".split()
)
quoted = st.binary(max_size=8).map(
    lambda text: b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
)
literals = st.binary(max_size=30).map(lambda text: b"{%d}\r\n%s" % (len(text), text))
noise = st.binary(max_size=12)
streams = st.lists(st.one_of(atoms, quoted, literals, noise, st.just(b"\r\n")), max_size=40).map(
    b" ".join
)


def said(chunks: list[bytes]) -> tuple[list[list[bytes]], list[Answer], str | None]:
    framer = Framer(max_literal_bytes=200, max_line_bytes=300)
    responses: list[list[bytes]] = []
    try:
        for chunk in chunks:
            for response in framer.feed(chunk):
                responses.append(response)  # noqa: PERF402 (those before an error count)
    except FramingError as error:
        return responses, [parse(each) for each in responses], str(error)
    return responses, [parse(each) for each in responses], None


@settings(max_examples=500)
@given(st.data(), streams)
def test_any_chunking_gives_the_same_responses(data: st.DataObject, stream: bytes) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    chunks = [
        stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]

    assert said(chunks) == said([stream])


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_no_stream_breaks_the_parser(stream: bytes) -> None:
    said([b"* " + stream + b"\r\n"])
