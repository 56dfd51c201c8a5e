"""The settings loader: every problem at once, by its key, whatever the file holds."""

import random
from pathlib import Path

import pytest

from emailsync.config import DatabaseSettings, Settings
from emailsync.domain.priority import QueueName
from emailsync.settings_file import (
    ENVIRONMENT,
    ConfigInvalid,
    live_changes,
    load,
    load_again,
    restart_needed,
    with_live_keys,
)

BAD_FILES = [
    ("[email_sync]\nbatch_sise = 5", "email_sync.batch_sise", "did you mean batch_size?"),
    ("[limit.imap]\nconcurrent = 1", "limit", "did you mean limits?"),
    ("frobnicate = 1", "frobnicate", "unknown key"),
    ("limits = 3", "limits", "should be a section, written [limits]"),
    ('[email_sync]\nbatch_size = "50"', "email_sync.batch_size", "should be a valid integer"),
    ("[email_sync]\nbatch_size = 1.5", "email_sync.batch_size", "not 1.5"),
    ("[email_sync]\nbatch_size = 0", "email_sync.batch_size", "greater than or equal to 1, not 0"),
    ("[email_sync]\nenabled = 1", "email_sync.enabled", "should be a valid boolean"),
    ('[email_sync]\ncron = "61 * * * *"', "email_sync.cron", "maximum value (59)"),
    ('[email_sync]\ncron = "often"', "email_sync.cron", "Wrong number of fields"),
    ("[email_sync]\nstate_dir = 5", "email_sync.state_dir", "should be a valid string, not 5"),
    ('[http]\nlisten = "8025"', "http.listen", "should be host:port"),
    ('[http]\nlisten = "localhost:70000"', "http.listen", "should be host:port"),
    ('[http]\npublic_url = "http://example.org"', "http.public_url", "https://"),
    ('[http]\npublic_url = "HTTPS://example.org"', "http.public_url", "https://"),
    ('[http]\npublic_url = "https://example.org/?"', "http.public_url", "without a user, ?, #"),
    ('[http]\npublic_url = "https://example.org#"', "http.public_url", "without a user, ?, #"),
    ('[http]\npublic_url = "https://example.org:x"', "http.public_url", "its port"),
    ('[http]\npublic_url = "https://["', "http.public_url", "its host"),
    (
        '[http]\nreturn_to_allowed = ["https://example.org/a b"]',
        "http.return_to_allowed.0",
        "spaces",
    ),
    (
        '[http]\nreturn_to_allowed = ["https://example.org/\\r\\nx"]',
        "http.return_to_allowed.0",
        "spaces",
    ),
    ('[database]\nurl = "mysql://u:hunter2@h/db"', "database.url", "postgresql://"),
    ('[database]\nurl = "postgresql://u:hunter2#x@h/db"', "database.url", "# as %23"),
    ('[database]\nurl = "postgresql://u:hunter2\u2100@h/db"', "database.url", "valid URL"),
    ("[database]\npool_max = 20", "database.pool_max", "less than or equal to 19, not 20"),
    ("[cluster]\nlease_s = 44\nheartbeat_s = 15", "cluster", "at least 3 times heartbeat_s"),
    ("[limits.imap]\nutilisation = 1.5", "limits.imap.utilisation", "less than or equal to 1"),
    ("[limits.imap]\nutilisation = nan", "limits.imap.utilisation", "should be"),
    ("[limits.imap]\nconnections_per_account = 0", "limits.imap.connections_per_account", "not 0"),
    ("[limits.imap]\nconnections_per_account = 1", "limits.imap", "times utilisation (0.5)"),
    ("[limits.imap]\nutilisation = 0.09", "limits.imap", "connections_per_account (10) times"),
    (
        "[limits.google]\nutilisation = 0.005",
        "limits.google",
        "user_units_per_minute at least 20000",
    ),
    (
        "[limits.google]\nproject_units_per_minute = 100\nutilisation = 0.3",
        "limits.google",
        (
            "should be at least 100, the dearest request and those that begin a sync:"
            " project_units_per_minute at least 334"
        ),
    ),
    (
        "[limits.microsoft]\nmailbox_requests_per_10_minutes = 20\nutilisation = 0.1",
        "limits.microsoft",
        "mailbox_requests_per_10_minutes at least 100",
    ),
    ("[limits.google]\nprices = '2025'", "limits.google.prices", "'2026' or 'classic'"),
    ("[imap]\nallowed_ports = [143, 70000]", "imap.allowed_ports.1", "not 70000"),
    ("[queues.high]\nattempts = 0", "queues.high.attempts", "not 0"),
    ("[queues.urgent]\nattempts = 1", "queues.urgent", "unknown key"),
    ("[logging]\nlevel = 'loud'", "logging.level", "'debug', 'info', 'warning' or 'error'"),
    ("[oauth.google]\ntoken_url = 'http://evil.example'", "oauth.google.token_url", "https://"),
    ("[oauth.google]\napi_url = 'https://me:secret@a.example'", "oauth.google.api_url", "user"),
    ("[oauth.microsoft]\napi_url = 'https://a.example/x?y=z'", "oauth.microsoft.api_url", "?"),
]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def problems_of(path: Path, environ: dict[str, str] | None = None) -> dict[str, str]:
    with pytest.raises(ConfigInvalid) as refused:
        load(path, environ or {})
    return {problem.key: problem.message for problem in refused.value.problems}


@pytest.mark.parametrize(("text", "key", "message"), BAD_FILES, ids=[case[1] for case in BAD_FILES])
def test_a_bad_value_is_reported_by_its_key(
    tmp_path: Path, text: str, key: str, message: str
) -> None:
    problems = problems_of(write(tmp_path, text))

    assert message in problems[key]
    assert "hunter2" not in str(problems)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "x = 1\n[http]\nlisten = 'no'\n[database]\nurl = ''")

    problems = problems_of(path, {"IMAP_CONCURRENT_MAX": "many", "CIRCUIT_BREAKER_TIMEOUT": "-1"})

    assert set(problems) == {
        "x",
        "http.listen",
        "database.url",
        "credentials.key_file",
        "IMAP_CONCURRENT_MAX",
        "CIRCUIT_BREAKER_TIMEOUT",
    }


def test_a_missing_or_broken_file_is_one_clear_problem(tmp_path: Path) -> None:
    missing, folder = tmp_path / "none.toml", tmp_path
    half = write(tmp_path, "[email_sync]\nenabled = tr")

    assert "No such file" in problems_of(missing)[str(missing)]
    assert "cannot be read" in problems_of(folder)[str(folder)]
    assert "line 2" in problems_of(half)[str(half)]


def test_a_section_may_name_only_what_it_changes(tmp_path: Path) -> None:
    settings = load(
        write(tmp_path, "[queues.high]\nconcurrency = 8\n[intervals.imap]\nlow_s = 60"), {}
    )

    assert settings.queues.of(QueueName.HIGH).concurrency == 8
    assert settings.queues.high.attempts == 3
    assert settings.intervals.imap.high_s == 1_800


def test_a_server_that_allows_an_account_one_connection_is_used_in_full(tmp_path: Path) -> None:
    text = "[limits.imap]\nconnections_per_account = 1\nutilisation = 1.0"

    settings = load(write(tmp_path, text), {})

    assert settings.limits.imap.connections_per_account == 1


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[limits.google]\nconcurrent = 4\n[email_sync]\nbatch_size = 7")
    environ = {
        "EMAIL_SYNC_ENABLED": "false",
        "EMAIL_SYNC_CRON": "*/2 * * * *",
        "EMAIL_SYNC_STAGGER_MS": "5",
        "EMAIL_SYNC_BATCH_SIZE": "",
        "IMAP_CONCURRENT_MAX": "11",
        "GMAIL_CONCURRENT_MAX": "12",
        "MICROSOFT_CONCURRENT_MAX": "13",
        "CIRCUIT_BREAKER_THRESHOLD": "14",
        "CIRCUIT_BREAKER_TIMEOUT": "15000",
    }

    settings = load(path, environ)

    assert not settings.email_sync.enabled
    assert settings.email_sync.cron == "*/2 * * * *"
    assert (settings.email_sync.batch_size, settings.email_sync.stagger_ms) == (7, 5)
    limits = settings.limits
    assert (limits.imap.concurrent, limits.google.concurrent) == (11, 12)
    assert limits.microsoft.concurrent == 13
    assert settings.circuit_breaker.threshold == 14
    assert settings.circuit_breaker.timeout.total_seconds() == 15


def test_a_bad_variable_is_named_as_the_variable(tmp_path: Path) -> None:
    path = write(tmp_path, "")

    for variable, (key, _) in ENVIRONMENT.items():
        assert problems_of(path, {variable: "\udcff"}).keys() >= {variable}, key
    secret = problems_of(path, {"EMAIL_SYNC_DATABASE_URL": "mysql://u:hunter2@h/db"})
    assert "hunter2" not in str(secret)


def test_a_section_that_is_no_section_survives_an_override(tmp_path: Path) -> None:
    problems = problems_of(
        write(tmp_path, "limits = 3\ndatabase = []"), {"IMAP_CONCURRENT_MAX": "1"}
    )

    assert problems.keys() >= {"limits", "database"}


def test_a_real_server_needs_a_key_file_and_the_message_says_how_to_make_one(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "[database]\nurl = 'postgresql://h/db'")

    assert "openssl rand" in problems_of(path)["credentials.key_file"]


def test_paths_are_relative_to_the_file_and_the_rest_lies_in_the_state_directory(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "[credentials]\nkey_file = 'k/keys'\n")

    settings = load(path, {"STATE_DIRECTORY": "/var/lib/x:/var/lib/y"})

    assert settings.credentials.key_file == tmp_path / "k/keys"
    assert settings.state_dir == Path("/var/lib/x")
    assert settings.http.token_file == Path("/var/lib/x/http-token")


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"CREDENTIALS_DIRECTORY": "/run/credentials/emailsyncd.service"}, None),
        ({}, "/etc/credstore"),
    ],
)
def test_a_secret_may_lie_where_systemd_hands_it_over_or_takes_it_from(
    tmp_path: Path, environ: dict[str, str], folder: str | None
) -> None:
    """The same file serves the daemon in its service and the commands outside of it."""
    path = write(tmp_path, "[credentials]\nkey_file = '$CREDENTIALS_DIRECTORY/emailsyncd.key'\n")

    settings = load(path, environ)

    expected = Path(folder or environ["CREDENTIALS_DIRECTORY"], "emailsyncd.key")
    assert settings.credentials.key_file == expected


def test_the_database_has_one_password(tmp_path: Path) -> None:
    text = "[database]\nurl = 'postgresql://u:hunter2@h/db'\npassword_file = 'password'"

    message = problems_of(write(tmp_path, text))["database"]

    assert "holds a password already" in message
    assert "hunter2" not in message


def test_several_servers_may_be_named(tmp_path: Path) -> None:
    # Without an IPv6 address: the fix of CVE-2024-11168 in Debian's Python 3.11.2 lets the standard
    # library, which asyncpg reads URLs with, take none beside other hosts.
    url = "postgresql://u:p@one:5432,two,10.0.0.3:5433/db"
    text = f'[database]\nurl = "{url}"\n[credentials]\nkey_file = "keys"'

    assert load(write(tmp_path, text), {}).database.url == url


def test_a_reload_does_not_take_an_empty_file_for_all_defaults(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="still being written"):
        load_again(write(tmp_path, "# nothing yet\n"), {})


def test_a_reload_takes_the_live_keys_and_names_the_others(tmp_path: Path) -> None:
    old = load(write(tmp_path, ""), {})
    new = load(write(tmp_path, "[limits.imap]\nconcurrent = 9\n[http]\nlisten = '127.0.0.1:1'"), {})

    merged = with_live_keys(old, new)

    assert restart_needed(old, new) == ["http.listen"]
    assert live_changes(old, new) == ["limits.imap.concurrent"]
    assert merged.limits.imap.concurrent == 9
    assert merged.http.listen == old.http.listen


def test_no_file_makes_the_loader_raise_anything_else(tmp_path: Path) -> None:
    """200 damaged files: cut, with bytes changed, lines shuffled or doubled."""
    seed = random.Random(20)
    whole = (Path(__file__).parents[2] / "config.example.toml").read_bytes()
    path = tmp_path / "config.toml"
    outcomes = set()

    for _ in range(200):
        path.write_bytes(damaged(whole, seed))
        try:
            outcomes.add(type(load(path, {})))
        except ConfigInvalid:
            outcomes.add(ConfigInvalid)

    assert outcomes <= {Settings, ConfigInvalid}
    assert ConfigInvalid in outcomes


def damaged(content: bytes, seed: random.Random) -> bytes:
    data = bytearray(content)
    match seed.randrange(4):
        case 0:
            del data[seed.randrange(len(data)) :]
        case 1:
            for _ in range(seed.randrange(1, 30)):
                data[seed.randrange(len(data))] = seed.randrange(256)
        case 2:
            lines = data.splitlines(keepends=True)
            seed.shuffle(lines)
            data = bytearray(b"".join(lines))
        case _:
            at = seed.randrange(len(data))
            data[at:at] = seed.choice([b"[" * 2_000, b"\0", b"99" * 40, b"= = =", b'"""', b"inf\n"])
    return bytes(data)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("embedded", "embedded"),
        ("postgresql://u:hunter2@db.example:5433/mail?password=hunter2", "db.example:5433/mail"),
        ("postgresql:///mail?host=/run/postgresql&password=hunter2", "/run/postgresql/mail"),
        ("postgresql://u:12/hunter2@db.example/mail", "an external server"),
        ("postgresql://u:12?hunter2@db.example/mail", "an external server"),
    ],
)
def test_the_place_of_the_database_shows_no_password(url: str, place: str) -> None:
    assert DatabaseSettings(url=url).place == place
