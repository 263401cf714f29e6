"""Starts the training processes of this instance with PyTorch's elastic launcher: one per GPU.

Without a GPU, two processes share the processors if the base model is large enough (`cpu.resources`).

SageMaker's toolkit starts `train.py` once on each instance. `train.py` then starts itself again through this
module.
"""

import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from storyloom_jobs.container import STOP_FILE, TERMINATED, JobError, StopSignal, TrainingPaths, run_job
from storyloom_jobs.cpu import resources
from storyloom_jobs.gpu_check import require_gpu
from storyloom_jobs.hyperparameters import Hyperparameters

_NOT_LAUNCHED = -1
"""Exit code that stands for: this process trains alone, nothing was launched."""
PORT = 29_400
"""Rendezvous port of the first instance; SageMaker lets a job's instances connect on any port."""


@dataclass(frozen=True)
class Cluster:
    """The instances of a training job, and the processes to start on each."""

    hosts: tuple[str, ...]
    current_host: str
    processes: int
    """Processes on each instance: one per GPU, or those that share the processors."""
    interface: str | None = None
    """Network interface to the other instances."""
    threads: int | None = None
    """Threads of each process if they share the processors; None leaves the libraries' default."""

    @classmethod
    def read(cls, paths: TrainingPaths, environment: Mapping[str, str] = os.environ) -> "Cluster":
        """Read `SM_HOSTS`, `SM_CURRENT_HOST` and `SM_NUM_GPUS`, or SageMaker's own file if they are not set.

        Args:
            paths: folders of the job; `resourceconfig.json` lies beside the hyperparameters.
            environment: environment variables of this process.

        Raises:
            JobError: this instance is not among the job's hosts.
        """
        path = paths.hyperparameters.with_name("resourceconfig.json")
        config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        hosts = json.loads(environment["SM_HOSTS"]) if "SM_HOSTS" in environment else config.get("hosts")
        hosts = sorted(hosts or ["localhost"])
        current_host = environment.get("SM_CURRENT_HOST") or config.get("current_host") or hosts[0]
        if current_host not in hosts:
            raise JobError(
                f"This instance ({current_host}) is not among the job's hosts: {', '.join(hosts)}."
            )
        gpus = int(environment.get("SM_NUM_GPUS") or _count_gpus())
        processes = gpus or resources.fastest_process_count(paths.base_model)
        threads = None if gpus or processes == 1 else resources.threads_per_process(processes)
        return cls(tuple(hosts), current_host, processes, config.get("network_interface_name"), threads)

    @property
    def needs_launcher(self) -> bool:
        """Return whether more than one process trains."""
        return len(self.hosts) > 1 or self.processes > 1


def launch_if_needed(script: Path) -> int | None:
    """Run `script` in as many processes as this instance needs, wait, and return the job's exit code.

    Returns None if this process has to train itself: it is the only one, or the launcher has started it.
    """
    if STOP_FILE in os.environ:
        return None
    paths = TrainingPaths.from_environment()
    code = run_job(lambda: _check_and_launch(paths, script), paths.failure)
    return None if code == _NOT_LAUNCHED else code


def _check_and_launch(paths: TrainingPaths, script: Path) -> int:
    require_gpu(Hyperparameters.load(paths.hyperparameters).accelerator)
    cluster = Cluster.read(paths)
    return launch(cluster, script, paths.failure) if cluster.needs_launcher else _NOT_LAUNCHED


def _count_gpus() -> int:
    import torch  # noqa: PLC0415 (takes seconds, and SageMaker usually sets SM_NUM_GPUS)

    return torch.cuda.device_count()


def launch(cluster: Cluster, script: Path, failure: Path) -> int:
    """Run `script` in each process, wait for all, and return the job's exit code.

    PyTorch's launcher would answer SIGTERM by killing the processes after half a minute. Instead, SIGTERM
    creates a file that the processes watch: they stop at the same step and save.

    Raises:
        JobError: a process ended without a message.
    """
    stop = StopSignal()
    with tempfile.TemporaryDirectory(prefix="storyloom-") as folder:
        os.environ[STOP_FILE] = str(Path(folder) / "stop")
        if cluster.interface and len(cluster.hosts) > 1:
            os.environ.setdefault("NCCL_SOCKET_IFNAME", cluster.interface)
            os.environ.setdefault("GLOO_SOCKET_IFNAME", cluster.interface)
        if cluster.threads:
            os.environ.setdefault("OMP_NUM_THREADS", str(cluster.threads))
        launcher = _LauncherThread(cluster, script)
        launcher.start()
        while launcher.is_alive():
            launcher.join(timeout=0.2)
            if stop.received:
                Path(os.environ[STOP_FILE]).touch()
    if stop.received:
        return TERMINATED
    if launcher.error is None:
        return 0
    if failure.exists():
        return 1
    raise JobError(_exit_message(launcher.error))


class _LauncherThread(threading.Thread):
    """Runs PyTorch's launcher outside the main thread, where it installs no signal handlers."""

    def __init__(self, cluster: Cluster, script: Path) -> None:
        super().__init__(name="launcher", daemon=True)
        self._cluster = cluster
        self._script = script
        self.error: BaseException | None = None

    def run(self) -> None:
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch  # noqa: PLC0415 (takes seconds)

        cluster = self._cluster
        several = len(cluster.hosts) > 1
        config = LaunchConfig(
            min_nodes=len(cluster.hosts),
            max_nodes=len(cluster.hosts),
            nproc_per_node=cluster.processes,
            run_id="storyloom",
            rdzv_backend="static" if several else "c10d",
            rdzv_endpoint=f"{cluster.hosts[0]}:{PORT}" if several else "localhost:0",
            rdzv_configs={"rank": cluster.hosts.index(cluster.current_host)} if several else {},
            max_restarts=0,
        )
        try:
            elastic_launch(config, sys.executable)(str(self._script))
        except BaseException as error:
            self.error = error


def _exit_message(error: BaseException) -> str:
    """Explain why a process ended that left no message."""
    codes = sorted({failed.exitcode for failed in getattr(error, "failures", {}).values()})
    if -signal.SIGKILL in codes:
        return (
            "A training process was killed: most likely the instance's main memory was full. "
            "Choose a smaller base model or a larger instance."
        )
    what = f"exit code {', '.join(map(str, codes))}" if codes else type(error).__name__
    return f"A training process ended without a message ({what}). The end of the job's log may tell why."
