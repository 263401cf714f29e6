"""`storyloom destroy`: nothing is deleted unasked, and whatever goes wrong is one sentence with its cure."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from rich.console import Console
from typer.testing import CliRunner

from cli.app import app
from cli.aws import target as aws_target
from cli.aws.target import AwsTarget
from cli.console import CommandError
from cli.removal import kept_data, stack_deletion, teardown
from cli.removal.app_resources import list_everything
from cli.removal.kept_data import KeptData
from cli.removal.stack_deletion import StackDeletion
from contracts.resource_names import AppNames

NAMES = AppNames("storyloom")
CHAT, PIPELINE = "Storyloom-Chat", "Storyloom-Pipeline"


def _refused(code: str, operation: str = "GetCallerIdentity", message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


class _Formation:
    """CloudFormation with stacks whose status goes on a step at each look."""

    def __init__(self, **stacks: list[str]) -> None:
        self.stacks = {name.replace("_", "-"): states for name, states in stacks.items()}
        self.after_delete: dict[str, list[list[str]]] = {}
        """What a stack goes through after each deletion; the last state stays."""
        self.asked: list[str] = []
        self.resources: dict[str, list[dict[str, str]]] = {}
        """What the stacks still have."""

    def get_paginator(self, operation: str) -> "_Formation":
        assert operation == "list_stack_resources"
        return self

    def paginate(self, StackName: str) -> list[dict[str, Any]]:  # noqa: N803
        return [{"StackResourceSummaries": self.resources.get(StackName, [])}]

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3 names it so
        states = self.stacks.get(StackName)
        if not states:
            message = f"Stack with id {StackName} does not exist"
            raise _refused("ValidationError", "DescribeStacks", message)
        status = states.pop(0) if len(states) > 1 else states[0]
        if status == "DELETE_COMPLETE":
            del self.stacks[StackName]
        return {"Stacks": [{"StackName": StackName, "StackId": StackName, "StackStatus": status}]}

    def delete_stack(self, StackName: str) -> None:  # noqa: N803
        self.asked.append(StackName)
        turns = self.after_delete.get(StackName, [])
        self.stacks[StackName] = turns.pop(0) if turns else ["DELETE_IN_PROGRESS", "DELETE_COMPLETE"]

    def describe_stack_events(self, StackName: str) -> dict[str, Any]:  # noqa: N803
        reason = "Not removed: endpoint storyloom (it is creating). Delete the stack again"
        thing = {"ResourceType": "Custom::MadeAtRunTime", "LogicalResourceId": "MadeAtRunTime"}
        return {
            "StackEvents": [
                {**thing, "EventId": "2", "ResourceStatus": "DELETE_FAILED", "ResourceStatusReason": reason},
                {**thing, "EventId": "1", "ResourceStatus": "DELETE_IN_PROGRESS"},
            ]
        }


class _Session:
    region_name = "us-east-1"


def _target(**clients: Any) -> AwsTarget:
    return AwsTarget(_Session(), account="123456789012", _clients=dict(clients))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_deletion, "POLL_SECONDS", 0)
    monkeypatch.setattr(teardown, "_LAG_SECONDS", 0)


def _delete(formation: _Formation) -> tuple[StackDeletion, list[str]]:
    told: list[str] = []
    deletion = StackDeletion(_target(cloudformation=formation), NAMES, told.append)
    deletion.delete_all()
    return deletion, told


def test_stacks_go_in_the_order_in_which_they_need_each_other() -> None:
    formation = _Formation(
        Storyloom_Pipeline=["CREATE_COMPLETE"],
        Storyloom_Storage=["CREATE_COMPLETE"],
        Storyloom_Operations=["CREATE_COMPLETE"],
        Storyloom_Chat=["ROLLBACK_COMPLETE"],
    )
    deletion, _ = _delete(formation)
    assert deletion.deleted == ["Storyloom-Operations", "Storyloom-Chat", PIPELINE]
    assert set(formation.stacks) == {"Storyloom-Storage"}


def test_an_incomplete_deletion_is_finished() -> None:
    formation = _Formation(Storyloom_Pipeline=["DELETE_FAILED"])
    deletion, _ = _delete(formation)
    assert deletion.deleted == [PIPELINE]
    assert _delete(formation)[0].deleted == [], "and once more there is nothing to do"


def test_a_deployment_under_way_is_awaited() -> None:
    busy = ["UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"]
    formation = _Formation(Storyloom_Pipeline=busy)
    _, told = _delete(formation)
    assert f"{PIPELINE}: waiting for the deployment in progress (UPDATE_IN_PROGRESS)" in told
    assert formation.asked == [PIPELINE]


def test_a_deletion_that_somebody_else_began_is_followed() -> None:
    formation = _Formation(Storyloom_Pipeline=["DELETE_IN_PROGRESS", "DELETE_IN_PROGRESS", "DELETE_COMPLETE"])
    deletion, _ = _delete(formation)
    assert deletion.deleted == [PIPELINE] and formation.asked == []


def test_what_could_not_be_deleted_yet_is_tried_again() -> None:
    formation = _Formation(Storyloom_Pipeline=["CREATE_COMPLETE"])
    formation.after_delete[PIPELINE] = [["DELETE_IN_PROGRESS", "DELETE_FAILED"]]
    deletion, told = _delete(formation)
    assert deletion.deleted == [PIPELINE] and formation.asked == [PIPELINE, PIPELINE]
    assert any("endpoint storyloom (it is creating)" in line for line in told)


def test_what_cannot_be_deleted_is_one_message() -> None:
    formation = _Formation(Storyloom_Pipeline=["CREATE_COMPLETE"])
    formation.after_delete[PIPELINE] = [["DELETE_FAILED"]] * 9
    with pytest.raises(
        CommandError, match=r"could not be deleted\. MadeAtRunTime: Not removed: endpoint"
    ) as told:
        _delete(formation)
    assert "continues from here" in told.value.cure


class _PageBucket:
    """S3 with the page's bucket: once it is empty, its stack can be deleted."""

    def __init__(self, formation: _Formation, region: str = "us-east-1") -> None:
        self.formation, self.region = formation, region
        formation.after_delete[CHAT] = [["DELETE_FAILED"]] * 9
        formation.resources[CHAT] = [
            {
                "ResourceType": "AWS::S3::Bucket",
                "ResourceStatus": "DELETE_FAILED",
                "PhysicalResourceId": "storyloom-chat-page",
            }
        ]

    def head_bucket(self, Bucket: str) -> dict[str, str]:  # noqa: N803
        assert Bucket == "storyloom-chat-page"
        return {"BucketRegion": self.region}

    def list_multipart_uploads(self, **_: str) -> dict[str, Any]:
        return {}

    def get_paginator(self, _: str) -> "_PageBucket":
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        return [{"Versions": [{"Key": "index.html", "VersionId": "null"}]}]

    def delete_objects(self, Bucket: str, Delete: dict[str, Any]) -> None:  # noqa: N803
        assert [entry["Key"] for entry in Delete["Objects"]] == ["index.html"]
        self.formation.after_delete.clear()
        self.formation.resources.clear()


def test_files_of_the_page_that_a_failed_creation_left_keep_nothing() -> None:
    formation = _Formation(Storyloom_Chat=["ROLLBACK_FAILED"], Storyloom_Pipeline=["CREATE_COMPLETE"])
    target = _target(cloudformation=formation, s3=_PageBucket(formation))
    deletion = StackDeletion(target, NAMES, lambda line: None)
    deletion.delete_all()
    assert deletion.deleted == [CHAT, PIPELINE]
    assert formation.asked == [CHAT, CHAT, PIPELINE]


def test_a_stack_that_cannot_be_deleted_keeps_no_other() -> None:
    formation = _Formation(Storyloom_Chat=["ROLLBACK_FAILED"], Storyloom_Pipeline=["CREATE_COMPLETE"])
    formation.after_delete[CHAT] = [["DELETE_FAILED"]] * 9
    with pytest.raises(CommandError, match="Storyloom-Chat could not be deleted"):
        _delete(formation)
    assert set(formation.stacks) == {CHAT}, "the pipeline is gone all the same"


def test_the_pipeline_stays_while_the_clean_up_of_the_chat_needs_its_function() -> None:
    formation = _Formation(Storyloom_Chat=["CREATE_COMPLETE"], Storyloom_Pipeline=["CREATE_COMPLETE"])
    formation.after_delete[CHAT] = [["DELETE_FAILED"]] * 9
    formation.resources[CHAT] = [
        {
            "ResourceType": "Custom::MadeAtRunTime",
            "ResourceStatus": "DELETE_FAILED",
            "PhysicalResourceId": "storyloom-hosting",
        }
    ]
    with pytest.raises(CommandError, match="Pipeline was not deleted: the clean-up of Storyloom-Chat needs"):
        _delete(formation)
    assert PIPELINE not in formation.asked


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (_refused("ExpiredToken"), "The credentials have expired"),
        (_refused("InvalidClientTokenId"), "AWS does not accept these credentials"),
        (NoCredentialsError(), "There are no usable AWS credentials"),
        (
            EndpointConnectionError(endpoint_url="https://sts.us-east-1.amazonaws.com"),
            "AWS cannot be reached",
        ),
        (_refused("AccessDenied", "DeleteStack", "not allowed"), "AWS refused DeleteStack: AccessDenied"),
    ],
)
def test_what_keeps_every_call_from_working_is_one_sentence(error: Exception, words: str) -> None:
    with pytest.raises(CommandError) as told, aws_target.aws_errors_explained():
        raise error
    assert told.value.message.startswith(words)
    assert told.value.cure


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> CommandError:
    monkeypatch.setattr(teardown, "chosen_target", lambda *_: _target(cloudformation=_Untouched()))
    monkeypatch.setattr(kept_data, "find_kept_data", lambda *_: KeptData(("b",), ("t",), 12.0))
    outcome = CliRunner().invoke(app, ["destroy", *arguments])
    assert isinstance(outcome.exception, CommandError), outcome.output
    return outcome.exception


class _Untouched:
    """A service that must not be called."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was called")


def test_without_a_terminal_nothing_is_deleted_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = _run(monkeypatch)
    assert "Nothing was deleted" in refusal.message and "--yes" in refusal.cure


def test_stories_are_deleted_only_by_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--confirm storyloom" in _run(monkeypatch, "--stories", "--yes").cure
    wrong = _run(monkeypatch, "--stories", "--yes", "--confirm", "storyloon")
    assert wrong.message == "--confirm names storyloon, and the app is storyloom. Nothing was deleted."


def test_what_stays_and_its_cost_are_said_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(teardown, "notes", Console(stderr=True, width=1000))
    _run(monkeypatch)
    said = teardown._plan_in_words(_target(), NAMES, KeptData(("b",), ("t",), 12.0), stories=False)
    assert "12.0 GB: about $0.28 a month" in said
    assert "AWS account 123456789012, region us-east-1" in said


def test_a_broken_settings_file_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "cdk.json").write_text("{")
    assert aws_target.app_name(tmp_path, ["name=fables"]) == "fables"
    with pytest.raises(CommandError, match="The app's name cannot be read") as told:
        aws_target.app_name(tmp_path, [])
    assert "-c name=NAME" in told.value.cure


def test_a_service_that_cannot_be_listed_is_said() -> None:
    class Denied:
        def __getattr__(self, name: str) -> Any:
            raise _refused("AccessDenied", name)

    target = AwsTarget(_Session(), account="1")  # type: ignore[arg-type]
    target.client = lambda service: Denied()  # type: ignore[method-assign]
    listing = list_everything(target, NAMES)
    assert not listing.found
    assert any(sentence.startswith("S3 buckets could not be listed") for sentence in listing.unlisted)


def test_another_app_is_not_this_one() -> None:
    assert NAMES.belongs_to_stacks("Storyloom-Pipeline-BeginFunction-1A2B")
    assert NAMES.belongs_to_stacks("storyloom-storage-stories24b1779e-1a2b")
    assert not NAMES.belongs_to_stacks("Storyloom-Two-Pipeline-BeginFunction-1A2B")
    assert not NAMES.belongs_to_stacks("Storyloomy-Pipeline")
