"""What the account may have: by profile, by the account file, and by what is in use already."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.aws.account import account_file, account_quotas
from local.aws.account.account_file import Account
from local.aws.errors import AwsError, LocalCloudError
from local.aws.sagemaker import instance_holds
from local.cloud import LocalCloud

GPU, ON_SPOT = "ml.g6.xlarge", "spot training job"


@pytest.fixture
def limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the file of an account without one yet; no instance is in use before the test nor after it."""
    monkeypatch.setenv("LOCAL_AWS_STATE", str(tmp_path))
    before = list(instance_holds._HOLDS)
    yield account_quotas.account_path()
    instance_holds._HOLDS[:] = before


def test_without_a_file_the_account_is_the_usual_one(limits: Path) -> None:
    assert not limits.exists()
    assert account_quotas.instance_quota(GPU, "endpoint").value == account_quotas.AMPLE_INSTANCES
    assert account_quotas.lambda_concurrency().value == 1_000
    assert account_quotas.lambda_memory_mb() == 10_240


def test_a_new_account_has_no_gpus_and_small_functions(limits: Path) -> None:
    account_file.write_account(limits, Account("new"))
    for usage in ("endpoint", ON_SPOT, "training job", "processing job", "transform job"):
        assert account_quotas.instance_quota(GPU, usage).value == 0
    assert account_quotas.instance_quota("ml.m5.xlarge", "processing job").value > 0
    assert account_quotas.lambda_concurrency().value == 10
    assert account_quotas.lambda_memory_mb() == 3_008


def test_a_quota_can_be_raised_while_the_cloud_runs(tmp_path: Path, limits: Path) -> None:
    account_file.write_account(limits, Account("new"))
    LocalCloud(tmp_path, tmp_path).set_quota(f"{GPU} for endpoint usage", 1)
    assert account_quotas.instance_quota(GPU, "endpoint").value == 1
    assert account_quotas.instance_quota(GPU, "training job").value == 0


def test_an_unknown_profile_is_refused_with_those_that_exist(limits: Path) -> None:
    with pytest.raises(LocalCloudError, match="usual, new"):
        account_file.write_account(limits, Account("rich"))  # type: ignore[arg-type]


def test_codes_are_those_of_aws_and_unique() -> None:
    known = account_quotas.catalogue().values()
    assert account_quotas.lambda_concurrency().code == "L-B99A9384"
    assert len({quota.code for quota in known}) == len(known)


def test_what_exceeds_the_quota_is_refused_in_the_words_of_aws(limits: Path) -> None:
    account_file.set_quota(limits, f"{GPU} for endpoint usage", 2)
    held = instance_holds.acquire_instances(GPU, "endpoint", 1)
    with pytest.raises(AwsError) as refused:
        instance_holds.acquire_instances(GPU, "endpoint", 2)
    assert refused.value.code == "ResourceLimitExceeded"
    assert refused.value.message.startswith(
        "The account-level service limit 'ml.g6.xlarge for endpoint usage' is 2 Instances, with current "
        "utilization of 1 Instances and a request delta of 2 Instances. Please use AWS Service Quotas"
    )
    held.release()
    held.release()
    instance_holds.acquire_instances(GPU, "endpoint", 2)


def test_a_hold_grows_within_the_quota_only(limits: Path) -> None:
    account_file.set_quota(limits, f"{GPU} for endpoint usage", 2)
    held = instance_holds.acquire_instances(GPU, "endpoint", 1)
    held.resize(2)
    with pytest.raises(AwsError, match="request delta of 1 Instances"):
        held.resize(3)
    account_file.set_quota(limits, f"{GPU} for endpoint usage", 0)
    held.resize(1)  # what is given back needs no quota
    assert instance_holds.instances_in_use(GPU, "endpoint") == 1
