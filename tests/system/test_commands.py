"""The command line from outside: what it says, and what a script can tell from its exit."""

import base64
import json
from pathlib import Path

from dovecot import DovecotServer
from dovecot_mailbox import DovecotMailbox
from installation import Installation, new_installation

MAIL = b"Subject: hello\r\n\r\nworld\r\n"
WRONG_PASSWORD = "qX7-not-the-password"


def add_words(mailbox: DovecotMailbox, *, user: str | None = None) -> list[str]:
    server = ["--host", mailbox.host, "--port", str(mailbox.port), "--security", "none"]
    who = ["--tenant", "acme", "--type", "imap", "--email", user or mailbox.user]
    return ["account", "add", *who, *server, "--password-stdin"]


def test_the_way_of_an_account_from_adding_to_removing(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    mailbox.append(MAIL)
    user = mailbox.user

    installation.add_account(mailbox)
    synced = installation.run("sync", "--json")
    listed = json.loads(installation.run("account", "list", "--json").stdout)
    shown = json.loads(installation.run("account", "show", user, "--json").stdout)
    explained = json.loads(installation.run("account", "explain", user, "--json").stdout)
    paused = installation.run("account", "pause", user)
    refused = installation.run("sync", user)
    resumed = installation.run("account", "resume", user)
    removed = installation.run("account", "remove", user, "--yes")
    gone = installation.run("account", "show", user)

    assert synced.returncode == 0, synced.stderr
    (result,) = json.loads(synced.stdout)
    assert (result["email_address"], result["up_to_date"]) == (user, True)
    assert [account["email_address"] for account in listed] == [user]
    assert shown["status"] == "active"
    assert "password" not in json.dumps(shown)
    assert explained["messages"].startswith("1 stored of 1 in ")
    assert "not due before" in explained["because"][0]
    assert explained["last_runs"][0]["result"] == "done"
    assert (paused.returncode, resumed.returncode, removed.returncode) == (0, 0, 0)
    assert refused.returncode == 3
    assert "account resume" in refused.stdout
    assert gone.returncode == 2
    assert gone.stderr == f"emailsyncd: there is no account {user}\n"


def test_an_argument_whose_bytes_are_no_text_is_refused_in_words(
    installation: Installation,
) -> None:
    refused = installation.run("account", "list", "--tenant", "acme\udcff")

    assert refused.returncode == 2
    assert "UTF-8" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_refused_login_adds_nothing_and_says_what_to_do(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    refused = installation.run(*add_words(mailbox), stdin=f"{WRONG_PASSWORD}\n")
    listed = json.loads(installation.run("account", "list", "--json").stdout)

    assert refused.returncode == 1
    assert "nothing was added" in refused.stderr
    assert "Authentication failed; check user name and password" in refused.stderr
    assert "app password" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert WRONG_PASSWORD not in refused.stderr
    assert listed == []


def test_an_untried_account_with_a_wrong_password_fails_the_sync_with_its_reason(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    added = installation.run(*add_words(mailbox), "--no-test", stdin=f"{WRONG_PASSWORD}\n")
    synced = installation.run("sync")
    explained = installation.run("account", "explain", mailbox.user)

    assert added.returncode == 0
    assert synced.returncode == 3
    assert "0 of 1 accounts are up to date" in synced.stdout
    assert mailbox.user in synced.stdout
    assert "needs_reconnect" in explained.stdout
    assert "new credentials" in explained.stdout
    for said in (synced, explained):
        everything = said.stdout + said.stderr
        assert WRONG_PASSWORD not in everything
        assert base64.b64encode(WRONG_PASSWORD.encode()).decode() not in everything


def test_a_new_password_brings_an_account_back(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    mailbox.append(MAIL)
    installation.run(*add_words(mailbox), "--no-test", stdin=f"{WRONG_PASSWORD}\n")
    refused = installation.run("sync")
    explained = json.loads(installation.run("account", "explain", mailbox.user, "--json").stdout)

    resume = ("account", "resume", mailbox.user, "--password-stdin")
    tried = installation.run(*resume, stdin=f"{WRONG_PASSWORD}\n")
    untried = installation.run(*resume, "--no-test", stdin=f"{WRONG_PASSWORD}\n")
    resumed = installation.run(*resume, stdin=f"{mailbox.password}\n")
    synced = installation.run("sync", mailbox.user)

    assert explained["next_sync_at"] is None
    assert (refused.returncode, resumed.returncode, synced.returncode) == (3, 0, 0)
    assert (tried.returncode, untried.returncode) == (1, 0)
    assert "nothing was changed" in tried.stderr
    assert WRONG_PASSWORD not in tried.stderr


def test_a_server_that_is_not_allowed_is_told_with_the_settings_that_decide(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    installation.configure({"imap": {"allowed_ports": [993]}})

    refused = installation.run(*add_words(mailbox), stdin=f"{mailbox.password}\n")

    assert refused.returncode == 1
    assert "not allowed here" in refused.stderr
    assert "imap.allowed_ports is [993]" in refused.stderr
    assert "imap.allow_private_hosts" in refused.stderr
    assert "--no-test" not in refused.stderr


def test_the_same_account_twice_is_refused_and_so_is_one_without_a_secret(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    installation.add_account(mailbox)

    twice = installation.run(*add_words(mailbox), stdin=f"{mailbox.password}\n")
    empty = installation.run(*add_words(mailbox, user="b@example.test"), stdin="")
    wrong_secret = installation.run(*add_words(mailbox)[:-1], "--refresh-token-stdin", stdin="x\n")

    assert twice.returncode == 1
    assert "already has" in twice.stderr
    assert empty.returncode == 2
    assert "nothing on stdin" in empty.stderr
    assert wrong_secret.returncode == 2
    assert "--password-stdin" in wrong_secret.stderr


def test_an_account_of_a_large_provider_needs_no_host(installation: Installation) -> None:
    words = ("account", "add", "--tenant", "t", "--type", "imap", "--no-test")

    added = installation.run(*words, "--email", "a@web.de", "--password-stdin", stdin="x\n")
    tokens = installation.run(
        *words, "--email", "a@b.example", "--oauth", "google", "--refresh-token-stdin", stdin="x\n"
    )

    vague = installation.run(
        *words, "--email", "b@web.de", "--security", "starttls", "--password-stdin", stdin="x\n"
    )

    assert (added.returncode, tokens.returncode) == (0, 0), added.stderr + tokens.stderr
    assert (vague.returncode, "--host" in vague.stderr) == (2, True)
    listed = json.loads(installation.run("account", "list", "--json").stdout)
    settings = {each["email_address"]: each["settings"] for each in listed}
    at_port = {"port": 993, "security": "tls"}
    assert settings == {
        "a@web.de": {"host": "imap.web.de", "username": "a", **at_port},
        "a@b.example": {
            "host": "imap.gmail.com",
            "username": "a@b.example",
            "oauth": "google",
            **at_port,
        },
    }


def test_logs_and_answers_do_not_mix(installation: Installation, mailbox: DovecotMailbox) -> None:
    installation.add_account(mailbox)

    synced = installation.run("sync", "--json")

    assert json.loads(synced.stdout)
    events = [json.loads(line)["event"] for line in synced.stderr.splitlines()]
    assert "sync.job_finished" in events


def test_check_says_what_is_well_and_what_falls_short(installation: Installation) -> None:
    minute = {"limiter_max": 5, "limiter_duration_ms": 60_000}
    before = installation.run("check", "--json")
    installation.configure({"queues": {"high": minute, "normal": minute, "low": minute}})

    short = installation.run("check")

    verdicts = {each["name"]: each["verdict"] for each in json.loads(before.stdout)}
    assert set(verdicts.values()) == {"ok"}
    assert {"settings", "key file", "database", "schema"} <= verdicts.keys()
    assert short.returncode == 0
    assert "raise queues.low.limiter_max" in short.stdout


def test_check_fails_when_the_database_is_away(installation: Installation) -> None:
    installation.configure({"database": {"url": "postgresql://u:hunter2@127.0.0.1:1/none"}})

    checked = installation.run("check", "--json")

    verdicts = {each["name"]: each["verdict"] for each in json.loads(checked.stdout)}
    assert checked.returncode == 1
    assert verdicts["database"] == "failed"
    assert "hunter2" not in checked.stdout + checked.stderr


def test_another_key_file_fails_the_check_and_parks_no_account(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    """With the old key back, all goes on by itself: nobody resumes a thousand accounts."""
    installation.add_account(mailbox)
    key_file = installation.folder / "keys"
    old = key_file.read_text()
    lost = old.partition(":")[0]
    other = base64.b64encode(b"o" * 32).decode()

    key_file.write_text(f"other:{other}\n")
    checked = installation.run("check")
    synced = installation.run("sync")
    key_file.write_text(f"{lost}:{other}\n")
    same_name = installation.run("check")
    key_file.write_text(old)
    shown = json.loads(installation.run("account", "show", mailbox.user, "--json").stdout)
    again = installation.run("sync")

    assert (checked.returncode, synced.returncode, same_name.returncode) == (1, 3, 1)
    assert f"1 account cannot log in: the credentials need key '{lost}'" in checked.stdout
    assert "1 account cannot log in: the credentials were altered" in same_name.stdout
    assert "or give them new" in same_name.stdout
    assert shown["status"] == "active"
    assert again.returncode == 0


def test_invalid_settings_exit_with_2_and_all_their_problems(installation: Installation) -> None:
    installation.configure({"email_sync": {"batch_size": 0}, "http": {"listne": "x"}})

    daemon = installation.run()
    command = installation.run("account", "list")

    assert (daemon.returncode, command.returncode) == (2, 2)
    assert daemon.stderr == command.stderr
    assert "email_sync.batch_size: should be greater than or equal to 1" in daemon.stderr
    assert "http.listne: unknown key; did you mean listen?" in daemon.stderr


def test_a_key_file_that_others_may_read_stops_every_command(installation: Installation) -> None:
    (installation.folder / "keys").chmod(0o644)

    for words in ((), ("account", "list"), ("sync",)):
        done = installation.run(*words)
        assert done.returncode == 2
        assert "chmod 600" in done.stderr


def test_migrate_is_needed_once_when_the_daemon_must_not_do_it(
    tmp_path: Path, empty_database_url: str, dovecot: DovecotServer
) -> None:
    installation = new_installation(tmp_path, empty_database_url, dovecot)
    installation.configure({"database": {"auto_migrate": False}})

    daemon = installation.run()
    first, second = installation.run("migrate", "--json"), installation.run("migrate", "--json")
    listed = installation.run("account", "list")

    assert daemon.returncode == 1
    assert "run `emailsyncd migrate`" in daemon.stderr
    assert json.loads(first.stdout)["applied"]
    assert json.loads(second.stdout)["applied"] == []
    assert listed.returncode == 0


def test_rekey_moves_every_credential_to_the_newest_key(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    installation.add_account(mailbox)
    key_file = installation.folder / "keys"
    old = key_file.read_text()
    new = f"new:{base64.b64encode(b'n' * 32).decode()}\n"

    key_file.write_text(new + old)
    moved = json.loads(installation.run("rekey", "--json").stdout)
    key_file.write_text(new)
    again = json.loads(installation.run("rekey", "--json").stdout)
    synced = installation.run("sync")
    key_file.write_text(old)
    lost = installation.run("rekey")

    assert (moved["changed"], again["changed"], again["current"]) == (1, 0, 1)
    assert synced.returncode == 0
    assert lost.returncode == 1
    assert "add their old key" in lost.stdout


def test_an_account_is_not_removed_without_being_asked(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    installation.add_account(mailbox)

    refused = installation.run("account", "remove", mailbox.user)

    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert len(json.loads(installation.run("account", "list", "--json").stdout)) == 1


async def test_a_sync_does_not_wait_for_an_account_that_nobody_can_claim(
    installation: Installation, dovecot: DovecotServer
) -> None:
    """One that the application switched off is active otherwise, and no run of it will come."""
    mailboxes = [dovecot.mailbox(f"{name}-claim@example.test") for name in ("on", "off")]
    for mailbox in mailboxes:
        installation.add_account(mailbox)
    on, off = (mailbox.user for mailbox in mailboxes)
    await installation.fetch(
        "UPDATE provider_configs SET is_active = false WHERE email_address = $1", off
    )

    synced = installation.run("sync", "--json", on, off)

    reasons = {each["email_address"]: each["reason"] for each in json.loads(synced.stdout)}
    assert synced.returncode == 3, synced.stderr
    assert reasons == {on: None, off: "the application switched it off (is_active is false)"}
