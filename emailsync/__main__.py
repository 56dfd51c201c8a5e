"""`emailsyncd` and `python -m emailsync`."""

from emailsync.collector import collect_rarely, spare_what_is_there


def main() -> None:
    """Run the command line."""
    collect_rarely()
    from emailsync.cli import app  # noqa: PLC0415 - to import everything is what keeps a collector busy

    try:
        app()
    finally:
        spare_what_is_there()


if __name__ == "__main__":
    main()
