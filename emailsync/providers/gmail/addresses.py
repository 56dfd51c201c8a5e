"""When two addresses are one Gmail mailbox (support.google.com/mail/answer/7436150)."""


def comparable(address: str) -> str:
    """Spell an address as Gmail may compare it: case, dots and the old domain do not count."""
    name, _, domain = address.casefold().rpartition("@")
    if domain in {"gmail.com", "googlemail.com"}:
        return f"{name.partition('+')[0].replace('.', '')}@gmail.com"
    return f"{name}@{domain}"
