"""The small parts of the local cloud, each by itself."""

import json
import os
import re
import ssl
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.eventstream import EventStreamBuffer
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as some

from local.aws.certificate import VALID_DAYS, ensure_certificate
from local.aws.cloud_environment import CloudFolders, server_environment
from local.aws.processes import MARKER, cloud_id, stop_all
from local.aws.sagemaker import event_stream
from local.aws.sagemaker.job import REASON_CHARACTERS, shorten_reason
from local.aws.sagemaker.job_process import Container, translate
from local.aws.sagemaker.telemetry import MetricDefinition
from local.aws.sagemaker.transfer import S3Uri


@given(payload=some.binary(max_size=4096))
def test_botocore_reads_our_event_streams(payload: bytes) -> None:
    buffer: Any = EventStreamBuffer()
    encoded = event_stream.payload_part(payload) + event_stream.failure("ModelStreamError", b"{}")
    for start in range(0, len(encoded), 100):
        buffer.add_data(encoded[start : start + 100])
    part, failure = list(buffer)
    assert (part.payload, part.headers[":event-type"]) == (payload, "PayloadPart")
    assert failure.headers[":exception-type"] == "ModelStreamError"


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("/opt/ml/model", "ROOT/model"),
        ("--model-dir=/opt/ml/model", "--model-dir=ROOT/model"),
        ("/opt/ml", "ROOT"),
        ("/opt/mlx/model", "/opt/mlx/model"),
        ("about /opt/ml/model", "about /opt/ml/model"),
    ],
)
def test_the_containers_paths_are_translated(tmp_path: Path, given_: str, expected: str) -> None:
    assert translate(given_, tmp_path) == expected.replace("ROOT", str(tmp_path))


def python(root: Path, program: str, lines: list[str]) -> Container:
    """Return a container that runs a Python program and collects its lines."""
    return Container(root, ["python3", "-c", program], {"MINE": "/opt/ml/x"}, lines.append)


def is_over(pid: int) -> bool:
    """Tell whether a process has ended, be it that nobody has asked how."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_container_gets_its_own_environment_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARKER, "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the server")
    monkeypatch.setenv("HF_TOKEN", "of the person")
    lines: list[str] = []
    container = python(tmp_path, "import json, os; print(json.dumps(dict(os.environ)))", lines)
    assert container.run(20, lambda: None).exit_code == 0
    environment = json.loads(lines[0])
    assert environment["MINE"] == f"{tmp_path}/x"
    assert environment["HOME"].startswith(str(tmp_path))
    assert not {"AWS_SECRET_ACCESS_KEY", "HF_TOKEN"} & environment.keys()


def test_a_container_deaf_to_sigterm_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARKER, "test")
    deaf = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork();"
        # in one write, else the lines of the two may come mixed up
        " os.write(1, b'%d\\n' % os.getpid()); time.sleep(60)"
    )
    lines: list[str] = []
    container = python(tmp_path, deaf, lines)

    def stop_once_it_runs(line: str) -> None:
        lines.append(line)
        container.stop("Stopped", grace_seconds=0.5)

    container.on_line = stop_once_it_runs
    started = time.monotonic()
    ended = container.run(None, lambda: None)
    assert (ended.exit_code, ended.stopped_by) == (-9, "Stopped")
    assert time.monotonic() - started < 15
    assert all(is_over(int(line)) for line in lines)


def test_what_a_container_started_in_a_session_of_its_own_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARKER, "test")
    launcher = (
        "import subprocess, sys; sleep = [sys.executable, '-c', 'import time; time.sleep(60)'];"
        " print(subprocess.Popen(sleep, start_new_session=True).pid)"
    )
    lines: list[str] = []
    assert python(tmp_path, launcher, lines).run(20, lambda: None).exit_code == 0
    (pid,) = map(int, lines)
    assert is_over(pid)


@given(reason=some.text(min_size=0, max_size=3000))
def test_a_failure_reason_is_never_too_long(reason: str) -> None:
    shortened = shorten_reason(reason)
    assert len(shortened) <= REASON_CHARACTERS
    assert reason.endswith(shortened[-50:])


@pytest.mark.parametrize(
    ("line", "value"),
    [("metric train_loss=1.5e-3 step=1", 0.0015), ("metric train_loss=... step=1", None), ("nothing", None)],
)
def test_a_metric_is_a_number_or_nothing(line: str, value: float | None) -> None:
    assert MetricDefinition("loss", re.compile(r"train_loss=([0-9.eE+-]+)")).find(line) == value


@pytest.mark.parametrize("text", ["http://bucket/key", "s3:/bucket", "bucket/key", "s3://"])
def test_what_is_no_s3_uri(text: str) -> None:
    with pytest.raises(ValueError, match="is not an S3 URI"):
        S3Uri.parse(text)


def test_the_certificate_is_ours_alone_and_trusted_beside_the_machines_own(tmp_path: Path) -> None:
    made = ensure_certificate(tmp_path, "us-east-1")
    assert oct(made.key.stat().st_mode & 0o777) == "0o600"
    parsed = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "localhost",
        "*.localhost",
        "cognito-idp.us-east-1.amazonaws.com",
    ]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    life = parsed.not_valid_after_utc - parsed.not_valid_before_utc
    assert life == timedelta(days=VALID_DAYS, hours=1)
    context = ssl.create_default_context(cafile=str(made.bundle))
    assert len(context.get_ca_certs()) > 10
    before = made.certificate.read_bytes()
    assert ensure_certificate(tmp_path, "us-east-1").certificate.read_bytes() == before


def test_everything_the_server_writes_is_below_the_state_folder(tmp_path: Path) -> None:
    folders = CloudFolders(tmp_path)
    environment = server_environment(folders, ensure_certificate(folders.tls, "us-east-1"), 1, 2)
    for name in ("TMPDIR", "HOME", "S3_DATA_DIR", "STATE_DIR", "AWS_CONFIG_FILE", "XDG_CACHE_HOME"):
        assert Path(environment[name]).is_relative_to(tmp_path), name
    assert (environment["AUTH"], environment["USE_SSL"]) == ("true", "1")


def test_an_sdk_reads_one_certificate_for_a_connection_and_a_download_all(tmp_path: Path) -> None:
    environment = server_environment(
        CloudFolders(tmp_path), ensure_certificate(tmp_path / "tls", "us-east-1"), 1, 2
    )
    assert Path(environment["AWS_CA_BUNDLE"]).read_text().count("BEGIN CERTIFICATE") == 1
    assert Path(environment["SSL_CERT_FILE"]).read_text().count("BEGIN CERTIFICATE") > 10


def test_a_sweep_stops_what_is_marked_and_nothing_else(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"]
    with_marker = {**os.environ, MARKER: cloud_id(tmp_path)}
    mine = subprocess.Popen(sleep, env=with_marker, stdout=subprocess.PIPE, start_new_session=True)
    other = subprocess.Popen(sleep, env={**os.environ, MARKER: "other"}, stdout=subprocess.PIPE)
    try:
        for process in (mine, other):
            assert process.stdout
            process.stdout.readline()
        assert stop_all(cloud_id(tmp_path)) == 1
        mine.wait(timeout=5)
        assert other.poll() is None
    finally:
        other.kill()
        mine.kill()
