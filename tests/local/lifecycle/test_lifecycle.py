"""The local cloud starts in seconds and leaves nothing behind, however it ends."""

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from cli import journey
from cli.console import CommandError
from local.aws.errors import LocalCloudError
from local.aws.processes import MARKER, belonging_to, cloud_id
from local.cloud import LocalCloud
from tests.local.sagemaker.conftest import free_port

pytestmark = pytest.mark.cloud

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    """Return a cloud that is not up yet, and is down in any case when the test ends."""
    made = LocalCloud(CHECKOUT, tmp_path / "state", free_port(), free_port())
    yield made
    made.down()


def test_up_takes_seconds_and_down_leaves_nothing(cloud: LocalCloud, tmp_path: Path) -> None:
    elsewhere = _outside(cloud)
    cloud.up()
    # Of the processor, as what else runs does not count: by the clock it is hardly more on a machine at rest.
    times = [process.cpu_times() for process in _mine(cloud)]
    assert sum(taken.user + taken.system for taken in times) < 15
    assert cloud.status()["running"]
    assert cloud.description()["process_group"] == os.getpgid(cloud.description()["pid"])
    assert stat.S_IMODE((cloud.state / "cloud.json").stat().st_mode) == 0o600

    cloud.down()
    _assert_gone(cloud)
    assert [path.name for path in cloud.state.iterdir()] == ["logs"]
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert _outside(cloud) == elsewhere


def test_up_twice_is_up_once(cloud: LocalCloud) -> None:
    cloud.up()
    pid = cloud.description()["pid"]
    cloud.up()
    assert cloud.description()["pid"] == pid


@pytest.mark.parametrize("part", ["local.aws.supervisor", "local.aws.server", "local.aws.web.front_door"])
def test_killing_any_part_ends_them_all(cloud: LocalCloud, part: str) -> None:
    cloud.up()
    _straggler(cloud)
    [victim] = [process for process in _mine(cloud) if part in process.cmdline()]
    victim.kill()
    _until(lambda: not _mine(cloud))
    cloud.down()
    _assert_gone(cloud)


def test_down_after_the_whole_group_was_killed(cloud: LocalCloud) -> None:
    cloud.up()
    straggler = _straggler(cloud)
    os.killpg(cloud.description()["process_group"], signal.SIGKILL)
    assert straggler.is_running()  # it has a session of its own, as a job has
    cloud.down()
    _assert_gone(cloud)


def test_down_without_anything_to_stop(cloud: LocalCloud) -> None:
    cloud.down()
    assert cloud.status() == {"running": False}


def test_two_clouds_stand_side_by_side(cloud: LocalCloud, tmp_path: Path) -> None:
    other = LocalCloud(CHECKOUT, tmp_path / "other", free_port(), free_port())
    try:
        cloud.up()
        other.up()
        cloud.down()
        assert other.status()["running"]
        _assert_gone(cloud)
    finally:
        other.down()


def test_a_port_in_use_is_named(cloud: LocalCloud) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", cloud.port))
        taken.listen()
        with pytest.raises(LocalCloudError, match=f"Port {cloud.port} of this machine is in use"):
            cloud.up()
    _assert_gone(cloud)


def test_ctrl_c_while_it_starts_leaves_nothing(cloud: LocalCloud) -> None:
    program = textwrap.dedent(f"""
        from pathlib import Path
        from local.cloud import LocalCloud
        checkout, state = Path({str(CHECKOUT)!r}), Path({str(cloud.state)!r})
        LocalCloud(checkout, state, {cloud.port}, {cloud.page_port}).up()
    """)
    log = cloud.folders.logs / "supervisor.log"
    for _ in range(5):
        log.unlink(missing_ok=True)
        starting = subprocess.Popen(
            [sys.executable, "-c", program], cwd=CHECKOUT, start_new_session=True, stderr=subprocess.DEVNULL
        )
        # Looking for processes takes as long as a start: the supervisor's log tells sooner.
        _until(log.exists, pause=0.002)
        starting.send_signal(signal.SIGINT)
        if starting.wait(timeout=30) != 0:
            break
        cloud.down()  # it was up before the signal came: once more
    else:
        pytest.fail("five starts were over before they could be interrupted")
    _assert_gone(cloud)


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Console:
    """Return a console for `make run` without the deployment, which takes minutes."""
    monkeypatch.setattr(journey, "start_and_deploy", lambda cloud, _: cloud.up())
    return Console(quiet=True)


def test_make_run_ends_when_its_cloud_is_taken_down(cloud: LocalCloud, console: Console) -> None:
    with journey.running_cloud(_config(cloud), console) as started:
        taking_down = threading.Timer(1, cloud.down)
        taking_down.start()
        journey.stay_up(started)
        taking_down.join()
    _assert_gone(cloud)


def test_make_run_fails_when_its_cloud_crashes(cloud: LocalCloud, console: Console) -> None:
    def run() -> None:
        with journey.running_cloud(_config(cloud), console) as started:
            os.kill(cloud.description()["pid"], signal.SIGKILL)
            journey.stay_up(started)

    with pytest.raises(CommandError, match="ended unexpectedly"):
        run()
    _assert_gone(cloud)


def test_make_run_leaves_another_cloud_in_its_folder_alone(cloud: LocalCloud, console: Console) -> None:
    def replace() -> None:
        cloud.down()
        cloud.up()

    with journey.running_cloud(_config(cloud), console) as started:
        replacing = threading.Timer(1, replace)
        replacing.start()
        journey.stay_up(started)
        replacing.join()
    assert cloud.status()["running"]


def test_a_foreign_account_is_out_of_reach(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "my-real-account")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    cloud.up()
    for process in _mine(cloud):
        environment = process.environ()
        assert "AWS_PROFILE" not in environment
        assert "AWS_SESSION_TOKEN" not in environment
        assert environment["AWS_SHARED_CREDENTIALS_FILE"].startswith(str(cloud.state))


def _config(cloud: LocalCloud) -> journey.LocalCloudConfig:
    return journey.LocalCloudConfig(CHECKOUT, cloud.state, cloud.port, cloud.page_port)


def _mine(cloud: LocalCloud) -> list[psutil.Process]:
    return belonging_to(cloud_id(cloud.state))


def _straggler(cloud: LocalCloud) -> psutil.Process:
    """Return a process like a job's: of the cloud, but in a session of its own, and deaf to SIGTERM."""
    ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf = f"{ignoring}; print(1, flush=True); time.sleep(99)"
    started = subprocess.Popen(
        [sys.executable, "-c", deaf],
        env={**os.environ, MARKER: cloud_id(cloud.state)},
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    assert started.stdout
    started.stdout.readline()
    return psutil.Process(started.pid)


def _outside(cloud: LocalCloud) -> set[str]:
    """List the files in the folders where programs leave things, except those of other programs."""
    places = [Path("/tmp"), Path.home()]
    names = {f"{place}/{path.name}" for place in places for path in place.iterdir()}
    return {name for name in names if "ministack" in name or name.endswith((".aws", ".cdk"))}


def _until(holds: object, seconds: float = 20, pause: float = 0.1) -> None:
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(pause)


def _assert_gone(cloud: LocalCloud) -> None:
    assert _mine(cloud) == []
    for port in (cloud.port, cloud.page_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
