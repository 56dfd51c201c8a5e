"""Takes the README's pictures of the dashboard: by day and by night.

    PYTHONPATH=tests python tests/picture.py [--seconds N]

It runs the demo for a while, with an account that is paused and one whose password is wrong, since
a picture of nothing but success would hide half of the page.
"""

import argparse
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, sync_playwright

from daemon import COMMAND
from servers import LOOPBACK, free_port

FOLDER = Path(__file__).parent / "pictures"
LINK = re.compile(r"(http://\S+/)#token=(\S+)")
TENANTS = 24
POLL_S = 0.1
DESK = {"width": 1280, "height": 1060}
PICTURES = (("overview-light.png", "light"), ("overview-dark.png", "dark"))


def main() -> None:
    """Run the demo, wait until there is something to see, and look."""
    parser = argparse.ArgumentParser(description="pictures of the dashboard")
    parser.add_argument("--seconds", type=int, default=300, help="of the demo before the picture")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    with running_demo() as (url, token):
        time.sleep(options.seconds / 2)
        disturb(url, token)
        time.sleep(options.seconds / 2)
        take(url, token)


@contextmanager
def running_demo() -> Iterator[tuple[str, str]]:
    """Run a demo; yield where its dashboard is, and the token."""
    listen = f"{LOOPBACK}:{free_port()}"
    words = ["demo", "--tenants", str(TENANTS), "--listen", listen]
    with (
        tempfile.NamedTemporaryFile() as output,
        subprocess.Popen([COMMAND, *words], stdout=output) as process,
    ):
        said = Path(output.name)  # read by itself: the file that the demo writes keeps its place
        while (link := LINK.search(said.read_text())) is None:
            time.sleep(POLL_S)
        yield link[1], link[2]
        process.terminate()


def disturb(url: str, token: str) -> None:
    """Pause an account, and take the password of another one away."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        first, second, *_ = client.get("providers?provider_type=imap").json()["items"]
        client.post(f"providers/{first['id']}/pause").raise_for_status()
        wrong = {"credentials": {"password": "wrong"}}
        client.patch(f"providers/{second['id']}", json=wrong).raise_for_status()


def take(url: str, token: str) -> None:
    """Take all pictures."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        for name, scheme in PICTURES:
            picture(browser, url, token, FOLDER / name, scheme=scheme)
        browser.close()


def picture(browser: Browser, url: str, token: str, file: Path, *, scheme: Any) -> None:
    """Take a picture of the overview."""
    context = browser.new_context(base_url=url, color_scheme=scheme, viewport=DESK)
    context.request.post("session", data={"token": token})
    page = context.new_page()
    page.goto("/")
    page.locator(".page table").last.wait_for()
    page.screenshot(path=file)
    context.close()


if __name__ == "__main__":
    main()
