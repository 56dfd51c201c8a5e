"""The dashboard's files keep to what its policy allows, and never make markup of a text."""

import re
from pathlib import Path

import pytest

from emailsync.api.dashboard import FOLDER

FILES = sorted(FOLDER.iterdir())
MAKES_MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
    r"|\beval\b|new Function|setTimeout\(\s*[\"'`]|srcdoc"
)
ELSEWHERE = re.compile(r"https?://(?!www\.w3\.org/2000/svg\b)|[\"'(]//|@import|url\(")
INLINE = re.compile(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|javascript:")


def name_of(file: Path) -> str:
    return file.name


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_text_becomes_markup_and_nothing_comes_from_elsewhere(file: Path) -> None:
    content = file.read_text("utf-8")

    assert MAKES_MARKUP.findall(content) == []
    assert ELSEWHERE.findall(content) == []


def test_the_page_has_nothing_inline() -> None:
    assert INLINE.findall((FOLDER / "index.html").read_text("utf-8")) == []


def test_every_script_and_style_is_used() -> None:
    everything = "".join(file.read_text("utf-8") for file in FILES)

    assert [
        file.name for file in FILES if file.suffix != ".html" and file.name not in everything
    ] == []
