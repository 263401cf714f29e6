"""Bodies of the API as `docs/openapi.json` describes them, for the server of the page's tests."""

from typing import Any

Json = dict[str, Any]


def status() -> Json:
    """Return an awake host with the live version v2."""
    return {
        "hosting": {
            "status": "awake",
            "version": "v2",
            "since": "2026-09-30T18:00:00.000Z",
            "message": None,
            "expected_seconds": None,
            "instance": "ml.g6.xlarge",
            "cost_this_month_usd": 1.875,
            "price_date": "2026-09",
        },
        "live": {
            "version": "v2",
            "run_id": "20260930-170000-beef",
            "base_perplexity": 27.4,
            "tuned_perplexity": 18.2,
            "created_at": "2026-09-30T17:40:00.000Z",
        },
        "run": None,
        "base_model": {"name": "smollm2-135m", "id": "HuggingFaceTB/SmolLM2-135M-Instruct"},
        "models": ["storyloom", "v2", "v1", "base"],
        "limits": {
            "messages": 200,
            "prompt_characters": 4000,
            "context_tokens": 4096,
            "answers_at_once": 4,
            "requests_per_minute": None,
            "upload_bytes": 50 * 2**20,
            "batch_bytes": 20 * 2**20,
            "batch_lines": 10_000,
            "batches_at_once": 2,
        },
        "usage": {"tokens_today": 1_240, "daily_tokens": 200_000},
    }


def stories() -> list[Json]:
    """Return two story files."""
    return [
        {"key": "the-ferry.txt", "size": 6_120, "modified_at": "2026-09-29T09:12:00.000Z"},
        {"key": "winter/lamplighter.md", "size": 8_904, "modified_at": "2026-09-28T20:40:00.000Z"},
    ]


def keys() -> list[Json]:
    """Return a key that works and one that has been revoked."""
    key = {
        "key_id": "3f9c0a7be1d2",
        "name": "nightly",
        "scopes": ["chat", "read"],
        "requests_per_minute": 60,
        "created_by": "u1",
        "created_by_email": "writer@example.com",
        "created_at": "2026-09-29T09:12:00.000Z",
        "expires_at": "2099-12-31T00:00:00.000Z",
        "revoked_at": None,
        "last_used_on": "2026-09-30",
    }
    revoked = {"key_id": "0a1b2c3d4e5f", "name": "old", "revoked_at": "2026-09-30T10:00:00.000Z"}
    return [key, {**key, **revoked, "last_used_on": None}]


def people() -> list[Json]:
    """Return the writer, an owner, and a reader who has not signed in yet."""
    writer = {
        "id": "u1",
        "email": "writer@example.com",
        "role": "owner",
        "enabled": True,
        "has_signed_in": True,
        "invited_at": "2026-09-01T09:12:00.000Z",
        "you": True,
    }
    ada = {"id": "u2", "email": "ada@example.com", "role": "reader", "has_signed_in": False, "you": False}
    return [{**writer, **ada}, writer]


def audit() -> list[Json]:
    """Return two entries of the audit trail: a change, and refusals that were counted."""
    return [
        {
            "entry_id": "2026-09-30T18:04:05.123Z#0a1b2c3d",
            "at": "2026-09-30T18:04:05.123Z",
            "principal": "u1",
            "principal_name": "writer@example.com",
            "action": "POST /api/runs/{run_id}/approve",
            "object": "20260930-170000-beef",
            "status": 200,
            "count": 1,
        },
        {
            "entry_id": "2026-09-30T17:04:05.123Z#0a1b2c3d",
            "at": "2026-09-30T17:04:05.123Z",
            "principal": "u2",
            "principal_name": "ada@example.com",
            "action": "POST /api/runs",
            "object": "",
            "status": 403,
            "count": 12,
        },
    ]


def costs(month: str, days: list[tuple[int, dict[str, float]]], *, limit: float | None = 20.0) -> Json:
    """Return a month's costs from what each day had by kind; two dollars are reserved for hosting."""
    spent: dict[str, float] = {}
    for _, by_kind in days:
        for kind, usd in by_kind.items():
            spent[kind] = spent.get(kind, 0.0) + usd
    reserved = 2.0 if days else 0.0
    total = sum(spent.values())
    price = {
        "instance": "ml.g6.xlarge",
        "usd_per_hour": 1.127,
        "date": "2026-09-27",
        "source": "AWS's price list of us-east-1",
    }
    return {
        "month": month,
        "spent_usd": total,
        "reserved_usd": reserved,
        "limit_usd": limit,
        "left_usd": None if limit is None else limit - total - reserved,
        "by_kind": [
            {"kind": kind, "spent_usd": usd, "reserved_usd": reserved if kind == "endpoint" else 0.0}
            for kind, usd in spent.items()
        ],
        "by_day": [{"day": f"{month}-{day:02}", "spent_usd": by_kind} for day, by_kind in days],
        "prices": [{"kind": kind, **price} for kind in ("training", "processing", "hosting")],
        "unpriced": [{"kind": "hosting", "instance": "ml.p5.4xlarge"}],
        "prices_read_at": None,
        "prices_failure": None,
    }


def busy_days() -> list[tuple[int, dict[str, float]]]:
    """Return days of a month with every kind of cost."""
    return [
        (2, {"training": 2.41, "evaluation": 0.22}),
        (3, {"endpoint": 1.13}),
        (9, {"endpoint": 2.26, "batch": 0.48}),
        (14, {"search": 3.2, "evaluation": 0.31, "endpoint": 0.56}),
        (15, {"endpoint": 1.69, "notebook": 0.9}),
        (21, {"training": 1.87, "endpoint": 0.85}),
    ]


def models() -> list[Json]:
    """Return a version in each status, newest first."""
    statuses = ("pending", "live", "previous", "approved", "rejected", "failed")
    return [
        {
            "version": f"v{len(statuses) - place}",
            "run_id": "20260930-170000-beef",
            "status": status,
            "base_model": "smollm2-135m",
            "base_perplexity": 27.4,
            "tuned_perplexity": 18.2 + place,
            "decision": "Perplexity on unseen stories is 34% lower.",
            "stories": 32,
            "words": 44_714,
            "created_at": "2026-09-30T17:40:00.000Z",
            "decided_by": None if status == "pending" else "the gate",
        }
        for place, status in enumerate(statuses)
    ]


def _state(name: str, seconds: float | None, state: str = "succeeded") -> Json:
    return {"name": name, "status": state, "started_at": "2026-09-30T17:00:00.000Z", "seconds": seconds}


def metrics() -> list[Json]:
    """Return a learning curve of 120 steps, with the validation loss every 20."""
    points: list[Json] = []
    for step in range(2, 122, 2):
        loss = 2.35 + 1.1 * 0.965**step + 0.07 * ((step * 37 % 11) / 11 - 0.5)
        validation = round(2.62 + 0.7 * 0.97**step, 3) if step % 20 == 0 else None
        points.append({"step": step, "train_loss": round(loss, 3), "validation_loss": validation})
    return points


def report() -> Json:
    """Return a data report with two rejected files and one duplicate."""
    return {
        "run_id": "20260930-170000-beef",
        "files": 27,
        "kept": 25,
        "rejected": [
            {
                "source_key": "scan.pdf",
                "source_version": "1",
                "entry": None,
                "reason": "The file has pictures of pages but no text.",
                "cure": "Run it through text recognition first, or save it as text.",
            },
            {
                "source_key": "old-drafts.zip",
                "source_version": "1",
                "entry": "notes/empty.txt",
                "reason": "The file is empty.",
                "cure": "Remove it, or write something into it.",
            },
        ],
        "stories": 24,
        "words": 26_480,
        "languages": {"en": 23, "de": 1},
        "duplicates": [
            {"kept": "the-ferry.txt", "dropped": "copy of the-ferry.txt", "kind": "near", "similarity": 0.97}
        ],
        "split": {
            "train": {"stories": 19, "words": 21_200, "examples": 88},
            "validation": {"stories": 2, "words": 2_300, "examples": 9},
            "test": {"stories": 3, "words": 2_980, "examples": 12},
        },
        "enough": True,
        "verdict": "That is enough to learn a voice from.",
        "training_minutes_estimate": 3.2,
        "cost_estimate_usd": 0.06,
        "price_date": "2026-09",
    }


def succeeded_run() -> Json:
    """Return a run that trained v2 and deployed it."""
    return {
        "run_id": "20260930-170000-beef",
        "status": "succeeded",
        "step": "Announce",
        "message": "Version v2 is live: its perplexity on unseen stories is 34% lower than the base model's.",
        "started_at": "2026-09-30T17:00:00.000Z",
        "ended_at": "2026-09-30T17:06:20.000Z",
        "files": 27,
        "stories": 24,
        "words": 26_480,
        "base_perplexity": 27.4,
        "tuned_perplexity": 18.2,
        "live_perplexity": 20.9,
        "version": "v2",
        "failure": None,
        "states": [
            _state("Begin", 0.8),
            _state("AnyStories", 0),
            _state("Read", 4.1),
            _state("Assemble", 2.6),
            _state("EnoughText", 0),
            _state("StageBaseModel", 0.9),
            _state("Staged", 0),
            _state("Train", 201.0),
            _state("Evaluate", 84.5),
            _state("Gate", 0.5),
            _state("Register", 0.9),
            _state("WorthDeploying", 0),
            _state("Deploy", 3.2),
            _state("WaitForEndpoint", 10.0),
            _state("SmokeTest", 1.0),
            _state("WaitForEndpoint", 10.0),
            _state("SmokeTest", 2.0),
            _state("Announce", 0.6),
        ],
        "report": report(),
        "report_url": "http://localhost:9/aws/s3/artifacts/runs/20260930-170000-beef/report.html?X-Amz-Signature=1",
        "evaluation_url": "http://localhost:9/aws/s3/artifacts/runs/20260930-170000-beef/evaluation/"
        "evaluation.html?X-Amz-Signature=1",
        "metrics": metrics(),
    }


def running_run() -> Json:
    """Return a run in the middle of its training."""
    run = succeeded_run()
    return {
        **run,
        "run_id": "20260930-180000-cafe",
        "status": "running",
        "step": "Train",
        "message": None,
        "started_at": "2026-09-30T18:00:00.000Z",
        "ended_at": None,
        "base_perplexity": None,
        "tuned_perplexity": None,
        "live_perplexity": None,
        "version": None,
        "states": [*run["states"][:7], _state("Train", None, "running")],
        "metrics": run["metrics"][:22],
        "progress": {"step": 44, "of": 120, "seconds": 74.0, "seconds_left": 128.0},
    }


def unchanged_run() -> Json:
    """Return a run that ended before its training, as nothing had changed since the one before."""
    run = succeeded_run()
    return {
        **run,
        "run_id": "20260930-190000-5a3e",
        "status": "stopped_early",
        "step": "Assemble",
        "message": f"Nothing has changed since run {run['run_id']}, which trained on the same stories with "
        "the same settings. So nothing was trained and nothing was spent. Add or change a story. To train on "
        "the same stories again, use Train again anyway on this run's page, or storyloom start --again",
        "unchanged": True,
        "started_at": "2026-09-30T19:00:00.000Z",
        "ended_at": "2026-09-30T19:00:40.000Z",
        "base_perplexity": None,
        "tuned_perplexity": None,
        "live_perplexity": None,
        "version": None,
        "states": run["states"][:5],
        "metrics": None,
        "evaluation_url": None,
    }


def searching_run() -> Json:
    """Return a run in the middle of its search."""
    run = running_run()
    trial = {
        "status": "succeeded",
        "best": False,
        "lora_rank": 16,
        "learning_rate": 0.000_423_1,
        "epochs": 3,
        "seconds": 300.5,
        "validation_loss": 2.5,
        "progress": None,
    }
    going = {"status": "running", "seconds": 0.0, "validation_loss": None, "progress": run["progress"]}
    return {
        **run,
        "run_id": "20260930-183000-5ea2",
        "step": "Tune",
        "states": [*run["states"][:7], _state("Tune", None, "running")],
        "metrics": None,
        "progress": None,
        "search": {
            "of": 6,
            "cost_usd": 0.42,
            "trials": [
                {**trial, "best": True},
                {**trial, "status": "stopped", "lora_rank": 8, "validation_loss": 3.125},
                {**trial, **going, "lora_rank": 32},
            ],
        },
    }


def waiting_run() -> Json:
    """Return a run that asks before it trains."""
    run = running_run()
    return {
        **run,
        "run_id": "20260930-190000-f00d",
        "status": "waiting",
        "step": "AwaitApproval",
        "message": "Waiting for your approval. That is enough to learn a voice from.",
        "waits_until": "2026-10-07T19:00:00.000Z",
        "states": [*run["states"][:5], _state("TrainAtOnce", 0), _state("AwaitApproval", 65.0, "running")],
        "metrics": None,
        "progress": None,
    }


def failed_run() -> Json:
    """Return a run whose training job ended with an error."""
    run = succeeded_run()
    return {
        **run,
        "run_id": "20260930-160000-dead",
        "status": "failed",
        "step": "Train",
        "message": "The training job ended with an error.",
        "base_perplexity": None,
        "tuned_perplexity": None,
        "live_perplexity": None,
        "version": None,
        "failure": {
            "step": "Train",
            "error": "AlgorithmError",
            "cause": "The GPU ran out of memory; try a larger training_instance or a smaller base model.",
            "log_tail": "step 10 of 120\ntorch.OutOfMemoryError: CUDA out of memory. Tried to get 2 GiB",
        },
        "states": [*run["states"][:7], _state("Train", 33.0, "failed"), _state("RecordFailure", 0.4)],
        "metrics": [],
    }
