"""Install a Chromium for the page's tests: the system's, else Playwright's, else the distribution's.

Called by ``make test``. It installs nothing if one is found; the distribution's package needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.browser.chromium import find_chromium


def main() -> None:
    """Find a Chromium or install one; if neither is possible, exit with what was tried."""
    if find_chromium():
        return
    if _succeeds([sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        _succeeds(["apt-get", "update", "-qq"])
        if _succeeds(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            return
    sys.exit(
        "There is no Chromium for the page's tests; neither Playwright's download nor apt-get installed one. "
        "Install Chromium or Chrome, or name it in STORYLOOM_CHROMIUM, and run this again."
    )


def _succeeds(command: list[str]) -> bool:
    sys.stdout.write(f"trying {' '.join(command)}\n")
    sys.stdout.flush()
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, check=False, env=environment).returncode == 0


if __name__ == "__main__":
    main()
