"""What a verification costs so far, from SageMaker's descriptions of its jobs and endpoint."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from price_list import start_prices
from price_list.price import KINDS

_REFRESH_SECONDS = 15.0
"""How often SageMaker is asked; in between the last sum counts."""
_ENDED = {"Completed", "Failed", "Stopped"}


def price_per_hour(instance: str, region: str) -> float | None:
    """Return the price on demand of the most expensive kind; None if no price of the region is known."""
    known = (start_prices.find(kind, instance, region) for kind in KINDS)
    return max((price.usd_per_hour for price in known if price is not None), default=None)


class Bill:
    """The costs of the jobs of the verification's run and batch, and of the endpoint.

    Prices are those on demand, so that spot capacity makes the sum too high and never too low.
    """

    def __init__(
        self,
        sagemaker: Callable[[], Any],
        endpoint: str,
        *,
        region: str,
        is_free: bool,
        assumed_usd_per_hour: float | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Begin a bill.

        Args:
            sagemaker: returns the client.
            endpoint: name of the endpoint.
            region: of the prices.
            is_free: whether nothing is billed, as on the local cloud.
            assumed_usd_per_hour: the price of an instance whose price is unknown.
            now: returns the time.
        """
        self._sagemaker, self._endpoint, self._is_free = sagemaker, endpoint, is_free
        self._assumed, self._now, self._region = assumed_usd_per_hour, now, region
        self._job_parts: set[str] = set()
        self._jobs: dict[str, float] = {}
        self._ended: set[str] = set()
        self._endpoint_usd = 0.0
        self._endpoint_seen_at: datetime | None = None
        self._counts_endpoint = True
        self._refreshed_at = float("-inf")

    def count_jobs(self, name_part: str) -> None:
        """Count every job whose name contains the id of a run or batch."""
        self._job_parts.add(name_part)

    def exclude_endpoint(self) -> None:
        """Do not count the endpoint, because it was awake before the verification."""
        self._counts_endpoint = False

    def price(self, instance: str) -> float | None:
        """Return the price of an instance, or the assumed one."""
        known = price_per_hour(instance, self._region)
        return self._assumed if known is None else known

    def total_usd(self, *, at_once: bool = False) -> float:
        """Return the costs so far; SageMaker is asked every 15 seconds, or `at_once`."""
        if self._is_free:
            return 0.0
        if at_once or time.monotonic() - self._refreshed_at >= _REFRESH_SECONDS:
            self._refreshed_at = time.monotonic()
            self._refresh()
        return round(self._endpoint_usd + sum(self._jobs.values()), 4)

    def _refresh(self) -> None:
        sagemaker = self._sagemaker()
        for part in self._job_parts:
            for name, usd, ended in (*self._training(sagemaker, part), *self._others(sagemaker, part)):
                self._jobs[name] = usd
                if ended:
                    self._ended.add(name)
        if self._counts_endpoint:
            # The endpoint may be deleted between two of these calls; the next refresh starts again.
            with contextlib.suppress(ClientError):
                self._add_endpoint(sagemaker)

    def _training(self, sagemaker: Any, part: str) -> Iterator[tuple[str, float, bool]]:
        for found in _listed(sagemaker, "training", part):
            name = found["TrainingJobName"]
            if name in self._ended:
                continue
            job = sagemaker.describe_training_job(TrainingJobName=name)
            resources = job["ResourceConfig"]
            seconds = job.get("BillableTimeInSeconds") or self._elapsed(
                job.get("TrainingStartTime"), job.get("TrainingEndTime")
            )
            usd = self._usd(resources["InstanceType"], resources["InstanceCount"], seconds)
            yield name, usd, job["TrainingJobStatus"] in _ENDED

    def _others(self, sagemaker: Any, part: str) -> Iterator[tuple[str, float, bool]]:
        for found in _listed(sagemaker, "processing", part):
            name = found["ProcessingJobName"]
            if name not in self._ended:
                job = sagemaker.describe_processing_job(ProcessingJobName=name)
                cluster = job["ProcessingResources"]["ClusterConfig"]
                seconds = self._elapsed(job.get("ProcessingStartTime"), job.get("ProcessingEndTime"))
                usd = self._usd(cluster["InstanceType"], cluster["InstanceCount"], seconds)
                yield name, usd, job["ProcessingJobStatus"] in _ENDED
        for found in _listed(sagemaker, "transform", part):
            name = found["TransformJobName"]
            if name not in self._ended:
                job = sagemaker.describe_transform_job(TransformJobName=name)
                machine = job["TransformResources"]
                seconds = self._elapsed(job.get("TransformStartTime"), job.get("TransformEndTime"))
                usd = self._usd(machine["InstanceType"], machine["InstanceCount"], seconds)
                yield name, usd, job["TransformJobStatus"] in _ENDED

    def _add_endpoint(self, sagemaker: Any) -> None:
        now = self._now()
        listed = sagemaker.list_endpoints(NameContains=self._endpoint)["Endpoints"]
        found = next((one for one in listed if one["EndpointName"] == self._endpoint), None)
        if found is None:
            self._endpoint_seen_at = None
            return
        described = sagemaker.describe_endpoint(EndpointName=self._endpoint)
        config = sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
        since = max(self._endpoint_seen_at or found["CreationTime"], found["CreationTime"])
        counts = [
            one.get("CurrentInstanceCount", 1) or 1 for one in described.get("ProductionVariants", [{}])
        ]
        instance = config["ProductionVariants"][0]["InstanceType"]
        self._endpoint_usd += self._usd(instance, max(1, sum(counts)), (now - since).total_seconds())
        self._endpoint_seen_at = now

    def _elapsed(self, started: datetime | None, ended: datetime | None) -> float:
        return 0.0 if started is None else ((ended or self._now()) - started).total_seconds()

    def _usd(self, instance: str, count: int, seconds: float) -> float:
        return (self.price(instance) or 0.0) * count * max(0.0, seconds) / 3600


def _listed(sagemaker: Any, kind: str, part: str) -> list[dict[str, Any]]:
    pages = sagemaker.get_paginator(f"list_{kind}_jobs").paginate(NameContains=part)
    return [found for page in pages for found in page[f"{kind.capitalize()}JobSummaries"]]
