"""What messages of all kinds become, whichever path reads them."""

import base64
import hashlib
from collections.abc import Callable

import pytest

from emailsync.domain.mail import Address, ParsedMessage
from emailsync.mime.fast import Refused, parse_fast
from emailsync.mime.tolerant import parse_headers_only, parse_tolerantly

HEAD = b"From: Ann <ann@a.example>\r\nSubject: hi\r\nMIME-Version: 1.0\r\n"


def crlf(text: str) -> bytes:
    """Return a message written with line feeds as it comes from a provider."""
    return text.encode().replace(b"\n", b"\r\n")


@pytest.fixture(params=[parse_fast, parse_tolerantly])
def parse(request: pytest.FixtureRequest) -> Callable[[bytes], ParsedMessage]:
    """Each path in turn."""
    function: Callable[[bytes], ParsedMessage] = request.param
    return function


def test_a_usual_message_is_read_whole(parse: Callable[[bytes], ParsedMessage]) -> None:
    message = crlf(
        "From: =?utf-8?Q?J=C3=B6rg?= <j@a.example>\n"
        'To: "Doe, Jane" <jane@b.example>\nCc: bo@c.example\nReply-To: list@a.example\n'
        "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\nDate: Fri, 1 Jan 2021 10:00:00 +0200\n"
        "Message-ID: <3@a>\nIn-Reply-To: <2@a>\nReferences: <1@a> <2@a>\n"
        'Content-Type: multipart/mixed; boundary="out"\n\n'
        'preamble\n--out\nContent-Type: multipart/alternative; boundary="in"\n\n'
        "--in\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
        "SGFsbG8gSsO2cmcKPiBxdW90ZWQKYmlzIGJhbGQ=\n--in\nContent-Type: text/html; charset=utf-8\n"
        "Content-Transfer-Encoding: quoted-printable\n\n<p>Hallo J=C3=B6rg=\n!</p>\n--in--\n"
        "--out\nContent-Type: application/pdf; name=a.pdf\n"
        'Content-Disposition: attachment; filename="=?utf-8?Q?=C3=9Cber.pdf?="\n'
        "Content-Transfer-Encoding: base64\n\naGVsbG8=\n"
        "--out\nContent-Type: image/png\nContent-ID: <logo@a>\n"
        "Content-Transfer-Encoding: base64\n\nAAEC\n--out--\nepilogue\n"
    )

    parsed = parse(message)

    assert parsed.parse_error is None
    assert parsed.from_ == Address("Jörg", "j@a.example")
    assert list(parsed.to) == [Address("Doe, Jane", "jane@b.example")]
    assert list(parsed.cc) == [Address("", "bo@c.example")]
    assert list(parsed.reply_to) == [Address("", "list@a.example")]
    assert (parsed.subject, parsed.message_id) == ("Grüße", "3@a")
    assert (parsed.in_reply_to, parsed.thread_key) == ("2@a", "1@a")
    assert parsed.sent_at is not None
    assert parsed.sent_at.isoformat() == "2021-01-01T08:00:00+00:00"
    assert parsed.body_text == "Hallo Jörg\n> quoted\nbis bald"
    assert parsed.body_html == "<p>Hallo Jörg!</p>"
    assert parsed.snippet == "Hallo Jörg bis bald"
    assert parsed.headers["subject"] == ["Grüße"]
    pdf, logo = parsed.attachments
    assert (pdf.position, pdf.filename, pdf.size_bytes) == (0, "Über.pdf", 5)
    assert pdf.sha256 == hashlib.sha256(b"hello").digest()
    assert (pdf.content_type, pdf.is_inline) == ("application/pdf", False)
    assert (logo.position, logo.filename, logo.content_id) == (1, None, "logo@a")
    assert logo.is_inline


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/calendar; method=REQUEST", "text/calendar"),
        ("application/pgp-signature; name=signature.asc", "application/pgp-signature"),
        ("application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m",
         "application/pkcs7-mime"),
        ("message/delivery-status", "message/delivery-status"),
        ("message/partial; id=a; number=1", "message/partial"),
        ("application/ms-tnef; name=winmail.dat", "application/ms-tnef"),
        ("text/rfc822-headers", "text/rfc822-headers"),
        ("text/csv; charset=utf-8", "text/csv"),
    ],
)  # fmt: skip
def test_what_is_neither_plain_text_nor_html_is_an_attachment(
    parse: Callable[[bytes], ParsedMessage], content_type: str, expected: str
) -> None:
    message = HEAD + crlf(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nbody\n"
        f"--b\nContent-Type: {content_type}\n\ncontent\n--b--\n"
    )

    parsed = parse(message)

    assert parsed.body_text == "body"
    (attachment,) = parsed.attachments
    assert (attachment.content_type, attachment.size_bytes) == (expected, 7)


@pytest.mark.parametrize("encoding", ["7bit", "base64"])
def test_an_embedded_message_is_an_attachment_with_its_own_bytes(
    parse: Callable[[bytes], ParsedMessage], encoding: str
) -> None:
    inner = b"Subject: inner\r\nContent-Type: text/plain\r\n\r\nnot the outer text"
    carried = base64.encodebytes(inner).replace(b"\n", b"\r\n") if encoding == "base64" else inner
    message = (
        HEAD
        + crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nouter\n--b\n")
        + crlf(f"Content-Type: message/rfc822\nContent-Transfer-Encoding: {encoding}\n\n")
        + carried
        + b"\r\n--b--\r\n"
    )

    parsed = parse(message)

    assert parsed.body_text == "outer"
    (attachment,) = parsed.attachments
    assert attachment.content_type == "message/rfc822"
    assert attachment.sha256 == hashlib.sha256(inner).digest()


@pytest.mark.parametrize(
    ("headers", "filename"),
    [
        ('Content-Disposition: attachment; filename="a b.pdf"', "a b.pdf"),
        ("Content-Disposition: attachment; filename=a b.pdf", "a b.pdf"),
        ("Content-Disposition: attachment; filename*=utf-8''%e2%82%ac.pdf", "€.pdf"),
        ("Content-Disposition: attachment; filename*1=x.pdf; filename*0*=utf-8'en'%e2%82%ac",
         "€x.pdf"),
        ("Content-Disposition: attachment; filename*=foo-8''%e4.pdf", "ä.pdf"),
        ("Content-Disposition: attachment; filename*=", None),
        ('Content-Disposition: attachment\nContent-Type: a/b; name="n.pdf"', "n.pdf"),
        ('Content-Disposition: attachment; filename="../../etc/passwd"', ".._.._etc_passwd"),
        (r'Content-Disposition: attachment; filename="C:\temp\a.exe"', "C:_temp_a.exe"),
        ('Content-Disposition: attachment; filename=".."', None),
        ("Content-Disposition: attachment; filename*=utf-8''a%00%0Ab", "a__b"),
        ("Content-Disposition: attachment; filename*=utf-8''exe%E2%80%AEfdp.exe", "exefdp.exe"),
        ('Content-Disposition: attachment; filename="never closed', "never closed"),
        ("Content-Disposition: attachment; filename=" + "x" * 5_000, "x" * 255),
        ("Content-Disposition: attachment", None),
    ],
)  # fmt: skip
def test_file_names_are_decoded_and_made_harmless(
    parse: Callable[[bytes], ParsedMessage], headers: str, filename: str | None
) -> None:
    message = HEAD + crlf(
        f"Content-Type: multipart/mixed; boundary=b\n\n--b\n{headers}\n\ncontent\n--b--\n"
    )

    parsed = parse(message)

    (attachment,) = parsed.attachments
    assert attachment.filename == filename


def test_a_named_text_is_a_file_unless_it_leads(parse: Callable[[bytes], ParsedMessage]) -> None:
    named = 'Content-Type: text/plain; name="notes.txt"\n\n'
    message = HEAD + crlf(
        f"Content-Type: multipart/mixed; boundary=b\n\n--b\n{named}the body\n"
        f"--b\n{named}a file\n--b\n\nmore body\n--b--\n"
    )

    parsed = parse(message)

    assert parsed.body_text == "the body\nmore body"
    assert [attachment.filename for attachment in parsed.attachments] == ["notes.txt"]


def test_the_headers_alone_of_a_multipart_are_no_broken_message() -> None:
    """What is fetched of a message over the size limit."""
    parsed = parse_tolerantly(HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n")

    assert (parsed.parse_error, parsed.subject) == (None, "hi")
    assert (parsed.body_text, parsed.attachments) == (None, [])


def test_the_final_boundary_may_be_missing(parse: Callable[[bytes], ParsedMessage]) -> None:
    message = HEAD + crlf(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nbody\n"
        "--b\nContent-Type: a/b\n\ncontent"
    )

    parsed = parse(message)

    assert parsed.body_text == "body"
    assert parsed.attachments[0].size_bytes == 7
    assert parsed.parse_error is None


def test_an_empty_message_is_an_empty_row(parse: Callable[[bytes], ParsedMessage]) -> None:
    parsed = parse(b"")

    assert parsed == ParsedMessage(body_text="", headers={}, attachments=[])


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"Content-Type: text/plain; charset=foo-8\r\n\r\nGr\xc3\xbc\xc3\x9fe", "Grüße"),
        (b'Content-Type: text/plain; charset="a\0b"\r\n\r\nGr\xc3\xbc\xc3\x9fe', "Grüße"),
        (b"Content-Type: text/plain; charset=us-ascii\r\n\r\nGr\xc3\xbc\xc3\x9fe", "Grüße"),
        (b"Content-Type: text/plain; charset=utf-8\r\n\r\nGr\xfc\xdfe", "Grüße"),
        (b"Content-Type: text/plain; charset=punycode\r\n\r\nGr\xfc\xdfe", "Grüße"),
        (b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8", "hello"),
        (b"Content-Transfer-Encoding: base64\r\n\r\naGVs!bG8\x80gIQ==\r\n", "hello !"),
        (
            b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 a\r\n#0V%T\r\n`\r\nend\r\n",
            "Cat",
        ),
        (b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nguessed\r\n--b--\r\n", "guessed"),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\nno parts\r\n", "no parts"),
        (b"Subject: x\rFrom: a@b\r\rold\rMac\r", "old\nMac"),
        (b"Subject: x\r\nno empty line\r\nmore", "no empty line\nmore"),
        (b"Content-Type: nonsense\r\n\r\ntext", "text"),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nstray\r\n--b--\r\n", "stray"),
    ],
)
def test_what_the_compiled_parser_would_lose_is_refused_and_read_tolerantly(
    message: bytes, text: str
) -> None:
    with pytest.raises(Refused):
        parse_fast(message)

    assert parse_tolerantly(message).body_text == text


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        (b"filename==?utf-8?B?4oKsLnBkZg==?=", "€.pdf"),
        (b'filename="=?utf-8?B?4oKs?= =?foo?Q?=E4?="', "€ä"),
        (b'filename="=?utf-8?B?4oI=?= =?utf-8?B?rA==?="', "€"),
    ],
)
def test_file_names_that_the_compiled_parser_leaves_undecoded_are_decoded_tolerantly(
    disposition: bytes, filename: str
) -> None:
    part = b"--b\r\nContent-Disposition: attachment; " + disposition + b"\r\n\r\nx\r\n--b--\r\n"
    message = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part

    with pytest.raises(Refused):
        parse_fast(message)

    assert parse_tolerantly(message).attachments[0].filename == filename


def test_wrong_escapes_of_quoted_printable_stay_as_they_are(
    parse: Callable[[bytes], ParsedMessage],
) -> None:
    parsed = parse(b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=ZZb \r\nc=\r\nd")

    assert parsed.body_text == "a=ZZb\ncd"


def test_a_lying_charset_is_guessed_from_the_bytes() -> None:
    russian = "Привет, как дела? Мы получили ваше письмо и скоро ответим. " * 4
    message = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + russian.encode("koi8-r")

    parsed = parse_tolerantly(message)

    assert parsed.body_text == russian


def test_one_stray_byte_does_not_spoil_the_declared_charset() -> None:
    message = (
        b"Content-Type: text/plain; charset=gb2312\r\n\r\n" + "你好世界".encode("gbk") + b"\xff"
    )

    parsed = parse_tolerantly(message)

    assert parsed.body_text == "你好世界\ufffd"


def test_broken_base64_costs_only_its_part() -> None:
    message = HEAD + crlf(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nbody\n--b\nContent-Type: a/b\n"
        "Content-Transfer-Encoding: base64\n\naGVsbG8=A\n--b\nContent-Type: c/d\n\nok\n--b--\n"
    )

    parsed = parse_tolerantly(message)

    broken, intact = parsed.attachments
    assert (broken.sha256, broken.size_bytes) == (None, 5)
    assert intact.sha256 == hashlib.sha256(b"ok").digest()
    assert parsed.body_text == "body"
    assert parsed.parse_error == "part 2: broken base64"


def test_the_headers_alone_are_readable_when_no_parser_survives() -> None:
    parsed = parse_headers_only(HEAD + b"Date: x\r\n\r\n" + b"\xff" * 1_000, "body not read: why")

    assert (parsed.subject, parsed.from_) == ("hi", Address("Ann", "ann@a.example"))
    assert parsed.body_text is None
    assert parsed.parse_error == "body not read: why"
