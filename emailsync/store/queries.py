"""The SQL of the program, by name. Statements live in sql/queries/*.sql and nowhere else.

A block is `-- name: claim_due`, a comment that says what it is for, and one statement; where that
says `{{name}}`, another block is put in.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import emailsync

_PACKAGE: Final = Path(emailsync.__file__).parent
_NAME: Final = re.compile(r"^-- name: (\w+)\n(?=-- \S)", re.MULTILINE)
_PART: Final = re.compile(r"\{\{(\w+)\}\}")


def sql_folder() -> Path:
    """Return the folder of the SQL files: inside the wheel, or beside the package in a checkout."""
    packed = _PACKAGE / "_sql"
    return packed if packed.is_dir() else _PACKAGE.parent / "sql"


def load_queries(*files: str) -> Mapping[str, str]:
    """Return the statements of sql/queries/`files`.sql by name.

    Raises:
        ValueError: a block has no purpose line, or two have one name.
        KeyError: a block is to be put in that is not there.
    """
    folder = sql_folder() / "queries"
    text = "\n".join((folder / f"{file}.sql").read_text(encoding="utf-8") for file in files)
    _, *parts = _NAME.split(text)
    blocks = dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))
    if len(blocks) != text.count("-- name: "):
        raise ValueError(f"{files}: a block without a purpose line, or one name twice")
    whole = {name: _PART.sub(lambda part: blocks[part[1]], block) for name, block in blocks.items()}
    return MappingProxyType(whole)
