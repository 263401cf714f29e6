"""What the account may have: by profile, by the account file, and by what is in use already."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local import account
from local.account import Account
from local.cloud import LocalCloud
from local.errors import LocalCloudError
from local.plugin import account_quotas
from local.plugin.sagemaker import instance_holds
from local.plugin.sagemaker.errors import ApiError

GPU, ON_SPOT = "ml.g6.xlarge", "spot training job"


@pytest.fixture
def account_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the file of an account without one yet; no instance is in use before the test nor after it."""
    monkeypatch.setenv("STORYLOOM_LOCAL_STATE", str(tmp_path))
    before = list(instance_holds._HOLDS)
    yield account_quotas.account_file()
    instance_holds._HOLDS[:] = before


def test_without_a_file_the_account_is_the_usual_one(account_file: Path) -> None:
    assert not account_file.exists()
    assert account_quotas.instance_quota(GPU, "endpoint").value == account_quotas.AMPLE_INSTANCES
    assert account_quotas.lambda_concurrency().value == 1_000
    assert account_quotas.lambda_memory_mb() == 10_240


def test_a_new_account_has_no_gpus_and_small_functions(account_file: Path) -> None:
    account.write(account_file, Account("new"))
    for usage in ("endpoint", ON_SPOT, "training job", "processing job", "transform job"):
        assert account_quotas.instance_quota(GPU, usage).value == 0
    assert account_quotas.instance_quota("ml.m5.xlarge", "processing job").value > 0
    assert account_quotas.lambda_concurrency().value == 10
    assert account_quotas.lambda_memory_mb() == 3_008


def test_a_quota_can_be_raised_while_the_cloud_runs(tmp_path: Path, account_file: Path) -> None:
    account.write(account_file, Account("new"))
    LocalCloud(tmp_path, tmp_path).set_quota(f"{GPU} for endpoint usage", 1)
    assert account_quotas.instance_quota(GPU, "endpoint").value == 1
    assert account_quotas.instance_quota(GPU, "training job").value == 0


def test_an_unknown_profile_is_refused_with_those_that_exist(account_file: Path) -> None:
    with pytest.raises(LocalCloudError, match="usual, new"):
        account.write(account_file, Account("rich"))  # type: ignore[arg-type]


def test_codes_are_those_of_aws_and_unique() -> None:
    quotas = account_quotas.catalogue().values()
    assert account_quotas.lambda_concurrency().code == "L-B99A9384"
    assert len({quota.code for quota in quotas}) == len(quotas)


def test_what_exceeds_the_quota_is_refused_in_the_words_of_aws(account_file: Path) -> None:
    account.set_quota(account_file, f"{GPU} for endpoint usage", 2)
    held = instance_holds.acquire(GPU, "endpoint", 1)
    with pytest.raises(ApiError) as refused:
        instance_holds.acquire(GPU, "endpoint", 2)
    assert refused.value.code == "ResourceLimitExceeded"
    assert refused.value.message.startswith(
        "The account-level service limit 'ml.g6.xlarge for endpoint usage' is 2 Instances, with current "
        "utilization of 1 Instances and a request delta of 2 Instances. Please use AWS Service Quotas"
    )
    held.release()
    held.release()
    instance_holds.acquire(GPU, "endpoint", 2)


def test_a_hold_grows_within_the_quota_only(account_file: Path) -> None:
    account.set_quota(account_file, f"{GPU} for endpoint usage", 2)
    held = instance_holds.acquire(GPU, "endpoint", 1)
    held.resize(2)
    with pytest.raises(ApiError, match="request delta of 1 Instances"):
        held.resize(3)
    account.set_quota(account_file, f"{GPU} for endpoint usage", 0)
    held.resize(1)  # what is given back needs no quota
    assert instance_holds.in_use(GPU, "endpoint") == 1
