"""Mails as Hypothesis draws them: well formed, oddly formed, and damaged afterwards."""

import base64
import quopri
from email.header import Header

from hypothesis import strategies as st

CHARSETS = ("utf-8", "iso-8859-1", "windows-1252", "gb2312", "iso-2022-jp", "koi8-r", "us-ascii")
_WORDS = st.sampled_from(
    [
        "hello",
        "Grüße",
        "voilà",
        "日本",
        "привет",
        "a=b",
        "--",
        "--b0",
        ".",
        "From here",
        "x" * 90,
        "tab\t",
        " ",
    ]
)
_TEXT = st.lists(_WORDS, max_size=8).map(" ".join)
_LINES = st.lists(_TEXT, max_size=6)
_TOKENS = st.text("abcxyz019.-_", min_size=1, max_size=12)
_ADDRESSES = st.builds("{}@{}.example".format, _TOKENS, _TOKENS)
_FILENAMES = st.sampled_from(
    [
        "a.pdf",
        "Über uns.docx",
        "日本.txt",
        'quo"te.png',
        "a;b.bin",
        "../../etc/passwd",
        "a\\b.c",
        "x" * 300,
    ]
)


@st.composite
def encoded_names(draw: st.DrawFn) -> str:
    name = draw(_TEXT)
    style = draw(st.sampled_from(["quoted", "encoded", "bare"]))
    if style == "encoded":
        return Header(name.strip() or "x", "utf-8").encode(linesep="\n")
    if style == "quoted":
        return '"' + name.replace("\\", "").replace('"', "") + ', Jr."'
    return "".join(character for character in name if character.isalnum() and character.isascii())


@st.composite
def address_lists(draw: st.DrawFn) -> str:
    mailboxes = [
        f"{draw(encoded_names())} <{address}>" if draw(st.booleans()) else address
        for address in draw(st.lists(_ADDRESSES, max_size=4))
    ]
    listed = ",\n ".join(mailboxes) if draw(st.booleans()) else ", ".join(mailboxes)
    return f"team: {listed};" if draw(st.integers(0, 9)) == 0 else listed


@st.composite
def header_blocks(draw: st.DrawFn) -> str:
    subject = draw(_TEXT)
    fields = [
        f"From: {draw(encoded_names())} <{draw(_ADDRESSES)}>",
        f"To: {draw(address_lists())}",
        "Subject: " + Header(subject.strip() or "x", "utf-8").encode(linesep="\n"),
        f"Date: {draw(st.sampled_from(DATES))}",
        f"Message-ID: <{draw(_TOKENS)}@{draw(_TOKENS)}>",
        f"References: <{draw(_TOKENS)}>\n <{draw(_TOKENS)}>",
        f"Cc: {draw(address_lists())}",
        "Received: from a by b\n\twith c; Fri, 1 Jan 2021 10:00:00 +0200",
        "Subject: =?utf-8?B?4pyT4p?= =?utf-8?B?yTyQ==?= split",
        "X-Raw: Größe",
    ]
    chosen = draw(st.lists(st.sampled_from(fields), max_size=8, unique=True))
    return "".join(field + "\n" for field in chosen)


DATES = (
    "Fri, 1 Jan 2021 10:00:00 +0200",
    "1 Jan 2021 10:00:00 -0000",
    "Fri, 01 Jan 21 10:00 GMT",
    "Fri, 1 Jan 0000 10:00:00 +0000",
    "yesterday",
    "Mon, 31 Feb 2021 25:61:61 +9999",
    "Fri, 1 Jan 2021 10:00:00 +0200 (CEST)",
)


@st.composite
def leaves(draw: st.DrawFn) -> bytes:
    """Return one part: its headers, an empty line and its encoded content."""
    kind = draw(
        st.sampled_from(["text/plain", "text/html", "application/pdf", "text/csv", "image/png"])
    )
    charset = draw(st.sampled_from(CHARSETS))
    content = "\n".join(draw(_LINES)).encode(charset, "replace")
    if not kind.startswith("text/"):
        content = draw(st.binary(max_size=200))
    encoding = draw(st.sampled_from(["", "7bit", "8bit", "base64", "quoted-printable", "BASE64"]))
    parameters = f'; charset="{charset}"' if draw(st.booleans()) else f"; charset={charset}"
    headers = f"Content-Type: {kind}{parameters}\n" if draw(st.integers(0, 4)) else ""
    if encoding:
        headers += f"Content-Transfer-Encoding: {encoding}\n"
    if draw(st.integers(0, 2)) == 0:
        headers += draw(dispositions())
    if draw(st.integers(0, 4)) == 0:
        headers += f"Content-ID: <{draw(_TOKENS)}@x>\n"
    if encoding.lower() == "base64":
        content = base64.encodebytes(content)
    elif encoding == "quoted-printable":
        content = quopri.encodestring(content)
    else:
        content = content.replace(b"\0", b"").replace(b"\r", b"")
    return headers.encode() + b"\n" + content


@st.composite
def dispositions(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["attachment", "inline", "ATTACHMENT", "form-data"]))
    name = draw(_FILENAMES)
    style = draw(st.sampled_from(["none", "quoted", "rfc2231", "rfc2047"]))
    if style == "none":
        return f"Content-Disposition: {kind}\n"
    if style == "rfc2231":
        escaped = "".join(f"%{byte:02X}" for byte in name.encode())
        return (
            f"Content-Disposition: {kind};\n filename*0*=utf-8''{escaped[:60]};\n"
            f" filename*1*={escaped[60:]}\n"
        )
    if style == "rfc2047":
        word = base64.b64encode(name.encode()).decode()
        return f'Content-Disposition: {kind}; filename="=?utf-8?B?{word}?="\n'
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'Content-Disposition: {kind}; filename="{quoted}"\n'


@st.composite
def containers(draw: st.DrawFn, children: st.SearchStrategy[bytes]) -> bytes:
    kind = draw(st.sampled_from(["mixed", "alternative", "related", "digest", "MIXED"]))
    boundary = draw(st.sampled_from(["b0", "b1", "=_x y", "----=_Part", "b0b"]))
    parts = draw(st.lists(children, min_size=1, max_size=4))
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\n\n'.encode()
    delimiter = f"--{boundary}".encode()
    body = b"".join(delimiter + b"\n" + part + b"\n" for part in parts)
    preamble = draw(st.sampled_from([b"", b"preamble\n", b"\n"]))
    ending = draw(
        st.sampled_from([delimiter + b"--\n", delimiter + b"--", b"", delimiter + b"--\nx\n"])
    )
    return head + preamble + body + ending


EMBEDDED = st.builds(
    lambda head, part: b"Content-Type: message/rfc822\n\n" + head.encode() + part,
    header_blocks(),
    leaves(),
)
ENTITIES = st.recursive(leaves() | EMBEDDED, containers, max_leaves=6)


@st.composite
def mails(draw: st.DrawFn) -> bytes:
    """Return a message whose lines end in CRLF, as from a provider, or in LF."""
    message = draw(header_blocks()).encode() + b"MIME-Version: 1.0\n" + draw(ENTITIES)
    return message.replace(b"\n", b"\r\n") if draw(st.integers(0, 3)) else message


@st.composite
def damaged_mails(draw: st.DrawFn) -> bytes:
    """Return a message with some bytes cut out, doubled or replaced."""
    message = draw(mails())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(message)))
        end = min(len(message), start + draw(st.integers(0, 8)))
        put = draw(
            st.sampled_from(
                [
                    b"",
                    b"\r",
                    b"\n",
                    b"\r\n\r\n",
                    b"\0",
                    b"=",
                    b"\xff",
                    b'"',
                    b":",
                    b"--",
                    b" ",
                    b";",
                    b"=?",
                    b"\x80",
                ]
            )
        )
        message = message[:start] + put + message[end:]
    return message
