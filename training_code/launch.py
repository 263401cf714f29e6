"""Starts the training processes of this instance with PyTorch's own elastic launcher: one for each GPU.

Without a GPU, two share the processors where the base model is worth it (`processors`).

Jobs name their entry point (docs/decisions/0005), so no toolkit does it: `train.py` is started once on each
instance, and starts itself again through here.
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

from training_code import processors
from training_code.container import STOP_FILE, TERMINATED, JobError, StopSignal, TrainingPaths, run_job
from training_code.gpu import require_gpu
from training_code.hyperparameters import Hyperparameters

_ALONE = -1
PORT = 29_400
"""Where the first instance can be met; SageMaker lets a job's instances talk on any port."""


@dataclass(frozen=True)
class Cluster:
    """The instances of a training job, as seen from one of them."""

    hosts: tuple[str, ...]
    current: str
    processes: int
    """On each instance: its GPUs, or without any as many as share the processors."""
    interface: str | None = None
    """The network interface to the other instances."""
    threads: int | None = None
    """Of each process, where they share the processors; None leaves them to the libraries."""

    @classmethod
    def read(cls, paths: TrainingPaths, environment: Mapping[str, str] = os.environ) -> "Cluster":
        """From `SM_HOSTS`, `SM_CURRENT_HOST` and `SM_NUM_GPUS` where set, else from SageMaker's own file.

        Args:
            paths: the job's; `resourceconfig.json` lies beside the hyperparameters.
            environment: the process's.

        Raises:
            JobError: this instance is not among them.
        """
        path = paths.hyperparameters.with_name("resourceconfig.json")
        told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        hosts = json.loads(environment["SM_HOSTS"]) if "SM_HOSTS" in environment else told.get("hosts")
        hosts = sorted(hosts or ["localhost"])
        current = environment.get("SM_CURRENT_HOST") or told.get("current_host") or hosts[0]
        if current not in hosts:
            raise JobError(f"This instance ({current}) is not among those of the job: {', '.join(hosts)}.")
        gpus = int(environment.get("SM_NUM_GPUS") or _visible_gpus())
        processes = gpus or processors.worthwhile_processes(paths.base_model)
        threads = None if gpus or processes == 1 else processors.threads_of_each(processes)
        return cls(tuple(hosts), current, processes, told.get("network_interface_name"), threads)

    @property
    def needs_launcher(self) -> bool:
        """Whether more than this process is to train."""
        return len(self.hosts) > 1 or self.processes > 1


def start_others(script: Path) -> int | None:
    """Run `script` as often as this instance needs it and wait; the job's exit code.

    None where this process is itself to train: it is alone, or was started from here.
    """
    if STOP_FILE in os.environ:
        return None
    paths = TrainingPaths.from_environment()
    code = run_job(lambda: _launch_if_needed(paths, script), paths.failure)
    return None if code == _ALONE else code


def _launch_if_needed(paths: TrainingPaths, script: Path) -> int:
    require_gpu(Hyperparameters.load(paths.hyperparameters).accelerator)
    cluster = Cluster.read(paths)
    return launch(cluster, script, paths.failure) if cluster.needs_launcher else _ALONE


def _visible_gpus() -> int:
    import torch  # noqa: PLC0415 (takes seconds, and SageMaker often tells)

    return torch.cuda.device_count()


def launch(cluster: Cluster, script: Path, failure: Path) -> int:
    """Run `script` in each process and wait for all; the job's exit code.

    SIGTERM is not the launcher's to handle: it would kill the processes after half a minute. They are told by
    a file instead, stop at the same step and save.

    Raises:
        JobError: a process ended without saying why.
    """
    stop = StopSignal()
    with tempfile.TemporaryDirectory(prefix="storyloom-") as folder:
        os.environ[STOP_FILE] = str(Path(folder) / "stop")
        if cluster.interface and len(cluster.hosts) > 1:
            os.environ.setdefault("NCCL_SOCKET_IFNAME", cluster.interface)
            os.environ.setdefault("GLOO_SOCKET_IFNAME", cluster.interface)
        if cluster.threads:
            os.environ.setdefault("OMP_NUM_THREADS", str(cluster.threads))
        ended = _Launched(cluster, script)
        ended.start()
        while ended.is_alive():
            ended.join(timeout=0.2)
            if stop.received:
                Path(os.environ[STOP_FILE]).touch()
    if stop.received:
        return TERMINATED
    if ended.error is None:
        return 0
    if failure.exists():
        return 1
    raise JobError(_words_for(ended.error))


class _Launched(threading.Thread):
    """PyTorch's launcher, beside the main thread: there it leaves the signals alone."""

    def __init__(self, cluster: Cluster, script: Path) -> None:
        super().__init__(name="launcher", daemon=True)
        self._cluster = cluster
        self._script = script
        self.error: BaseException | None = None

    def run(self) -> None:
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch  # noqa: PLC0415 (seconds)

        cluster = self._cluster
        several = len(cluster.hosts) > 1
        config = LaunchConfig(
            min_nodes=len(cluster.hosts),
            max_nodes=len(cluster.hosts),
            nproc_per_node=cluster.processes,
            run_id="storyloom",
            rdzv_backend="static" if several else "c10d",
            rdzv_endpoint=f"{cluster.hosts[0]}:{PORT}" if several else "localhost:0",
            rdzv_configs={"rank": cluster.hosts.index(cluster.current)} if several else {},
            max_restarts=0,
        )
        try:
            elastic_launch(config, sys.executable)(str(self._script))
        except BaseException as error:
            self.error = error


def _words_for(error: BaseException) -> str:
    """Why a process that said nothing has ended."""
    codes = sorted({failed.exitcode for failed in getattr(error, "failures", {}).values()})
    if -signal.SIGKILL in codes:
        return (
            "A training process was killed: most likely the instance's main memory was full. "
            "Choose a smaller base model or a larger instance."
        )
    what = f"exit code {', '.join(map(str, codes))}" if codes else type(error).__name__
    return f"A training process ended without saying why ({what}). The job's log has its last words."
