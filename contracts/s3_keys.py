"""Every key of the artifacts bucket, made here and nowhere else (see docs/contracts.md)."""

from urllib.parse import urlsplit

ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")
"""What the endpoint needs of a PEFT adapter folder."""
CHAT_TEMPLATE = "chat_template.jinja"
"""Beside an adapter that learnt plain texts: how a chat becomes such a text."""


def uri(bucket: str, key: str) -> str:
    """Join a bucket and a key or prefix to `s3://bucket/key`."""
    return f"s3://{bucket}/{key}"


def split(s3_uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into bucket and key.

    Raises:
        ValueError: where the text is no S3 URI.
    """
    parts = urlsplit(s3_uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise ValueError(f"{s3_uri!r} is no S3 URI of the form s3://bucket/key.")
    return parts.netloc, parts.path.removeprefix("/")


BASE_MODELS = "base-models/"
"""Prefix of all staged base models."""


def base_model(slug: str, revision: str) -> str:
    """Prefix of a staged base model."""
    return f"{BASE_MODELS}{slug}/{revision}/"


def staged_marker(slug: str, revision: str) -> str:
    """Key of the list of files that is written when a base model is complete."""
    return f"{base_model(slug, revision)}staged.json"


def staging_progress(slug: str, revision: str) -> str:
    """Key of how far the copy of a base model is; it is there only before the model is complete."""
    return f"{base_model(slug, revision)}staging.json"


RUNS = "runs/"
"""Prefix of what all runs make."""


def run(run_id: str) -> str:
    """Prefix of everything one run makes."""
    return f"{RUNS}{run_id}/"


def manifest(run_id: str) -> str:
    """Key of the frozen list of story versions."""
    return f"{run(run_id)}manifest.jsonl"


def batches(run_id: str) -> str:
    """Key of the same list in batches, one a line: what the Distributed Map goes through."""
    return f"{run(run_id)}batches.jsonl"


def read_prefix(run_id: str) -> str:
    """Prefix of the records and rejects."""
    return f"{run(run_id)}read/"


def read_batch(run_id: str, batch_digest: str) -> str:
    """Key of one batch's records and rejects; the digest is sha256 hex of the batch."""
    return f"{read_prefix(run_id)}{batch_digest[:16]}.jsonl"


CACHED_STORIES = "cache/stories/"
"""Prefix of what files gave when they were read; what lies below may be deleted at any time."""


def cached_file(file_digest: str) -> str:
    """Prefix of what one file gave; the digest is sha256 hex of its name and content."""
    return f"{CACHED_STORIES}{file_digest[:32]}/"


def cached_stories(file_digest: str, reader: str) -> str:
    """Key of the records and rejects that one version of the reading code, `reader`, made of a file."""
    return f"{cached_file(file_digest)}{reader}.jsonl"


LEDGER = "split/ledger.json"
"""Key of what the split remembers from run to run."""


def ledger_used(run_id: str) -> str:
    """Key of the ledger that a run's split was made with."""
    return f"{run(run_id)}ledger.json"


def dataset(run_id: str, part: str) -> str:
    """Prefix of one part of the dataset: `train`, `validation` or `test`."""
    return f"{run(run_id)}dataset/{part}/"


def examples(run_id: str, part: str) -> str:
    """Key of one part's examples."""
    return f"{dataset(run_id, part)}examples.jsonl"


def report(run_id: str) -> str:
    """Key of the data report."""
    return f"{run(run_id)}report.json"


def report_page(run_id: str) -> str:
    """Key of the data report as a page."""
    return f"{run(run_id)}report.html"


def training(run_id: str) -> str:
    """Prefix that SageMaker writes training output under."""
    return f"{run(run_id)}training/"


def model_archive(run_id: str, job_name: str) -> str:
    """Key of the archive that SageMaker makes of a training job's model folder."""
    return f"{training(run_id)}{job_name}/output/model.tar.gz"


def training_job(name: str, run_id: str, attempt: int = 1) -> str:
    """Name an attempt at the training job of a run: SageMaker takes no name twice."""
    return f"{name}-train-{run_id}{_again(attempt)}"


def evaluation_job(name: str, run_id: str, attempt: int = 1) -> str:
    """Name an attempt at the evaluation job of a run."""
    return f"{name}-evaluate-{run_id}{_again(attempt)}"


def tuning_job(name: str, run_id: str, attempt: int = 1) -> str:
    """Name an attempt at the tuning job of a run: 32 characters at most, so a long name of the app is cut."""
    return f"{name[:9].rstrip('-')}-{run_id}{_again(attempt)}"


def _again(attempt: int) -> str:
    return f"-{attempt}" if attempt > 1 else ""


def checkpoints(run_id: str) -> str:
    """Prefix of the training checkpoints, and of the event files for TensorBoard."""
    return f"{run(run_id)}checkpoints/"


def checkpoint_files(run_id: str) -> str:
    """Prefix of the checkpoints alone: the event files beside them stay when a training is over."""
    return f"{checkpoints(run_id)}checkpoint-"


def evaluation(run_id: str) -> str:
    """Prefix of the evaluation's output."""
    return f"{run(run_id)}evaluation/"


def evaluation_json(run_id: str) -> str:
    """Key of the evaluation that the gate reads."""
    return f"{evaluation(run_id)}evaluation.json"


def evaluation_page(run_id: str) -> str:
    """Key of the same evaluation as a page."""
    return f"{evaluation(run_id)}evaluation.html"


def adapter(run_id: str) -> str:
    """Prefix of the trained adapter's files, which the evaluation unpacks."""
    return f"{evaluation(run_id)}adapter/"


def merged(run_id: str) -> str:
    """Prefix of the base's weights with the run's adapter added, where the base is hosted only so."""
    return f"{evaluation(run_id)}merged/"


HOSTING = "hosting/"
"""Prefix of all hosting bundles."""
RETIRED = "storyloom:retired"
"""Tag of the objects of a retired bundle: the bucket's lifecycle deletes them, and nothing uses them."""


def hosting(version: str) -> str:
    """Prefix of one version's hosting bundle."""
    return f"{HOSTING}{version}/"


def bundled_for(bundle_uri: str) -> str:
    """Return the version that a hosting bundle was made for; another one in it may answer instead."""
    return bundle_uri.rstrip("/").rpartition("/")[2]


def serving_yaml(version: str) -> str:
    """Key of the endpoint's configuration."""
    return f"{hosting(version)}serving.yaml"


def hosted_base(version: str) -> str:
    """Prefix of the weights that a bundle's server starts with: the base model's, or the merged ones."""
    return f"{hosting(version)}base/"


def chat_template(version: str) -> str:
    """Key of how a bundle for a base without chats makes a text of one."""
    return f"{hosting(version)}{CHAT_TEMPLATE}"


def hosted_adapter(version: str, adapter_version: str) -> str:
    """Prefix of one adapter in a version's bundle."""
    return f"{hosting(version)}adapters/{adapter_version}/"


TRANSFORMS = "transforms/"
"""Prefix of everything about batches; it is forgotten after 30 days."""


def transform_job(name: str, batch_id: str) -> str:
    """Name the transform job of a batch."""
    return f"{name}-batch-{batch_id}"


TRANSFORM_MODELS = f"{TRANSFORMS}model/"
"""Prefix of all packed models."""


def transform_models(version: str) -> str:
    """Prefix of the archives of a version's hosting bundle, of which there is one for each content."""
    return f"{TRANSFORM_MODELS}{version}/"


def transform_model(version: str, content: str) -> str:
    """Key of a version's hosting bundle as one archive: transform jobs take no folder.

    Args:
        version: that the bundle was made for.
        content: digest of what the bundle holds.
    """
    return f"{transform_models(version)}{content}/model.tar.gz"


def transform(batch_id: str) -> str:
    """Prefix of one batch."""
    return f"{TRANSFORMS}batch/{batch_id}/"


def prompts(batch_id: str) -> str:
    """Key of the file of prompts, as somebody sent it."""
    return f"{transform(batch_id)}prompts"


def custom_ids(batch_id: str, check_id: str) -> str:
    """Key of the custom ids of the lines that one check read, in their order."""
    return f"{transform(batch_id)}{_of_check(check_id)}custom_ids.json"


def requests(batch_id: str, check_id: str) -> str:
    """Prefix of the lines that one check read, as requests to the model, one a line, in parts.

    Each check has a prefix of its own, so that a job reads what one check wrote and nothing else.
    """
    return f"{transform(batch_id)}requests/{_of_check(check_id)}"


def request_part(batch_id: str, check_id: str, number: int) -> str:
    """Key of one part of the requests; the first is number 0."""
    return f"{requests(batch_id, check_id)}{number:05}.jsonl"


def answers(batch_id: str, check_id: str) -> str:
    """Prefix that the transform job writes under: what `00000.jsonl` gave is `00000.jsonl.out`."""
    return f"{transform(batch_id)}answers/{_of_check(check_id)}"


def _of_check(check_id: str) -> str:
    # Batches that an older version of the app checked have none.
    return f"{check_id}/" if check_id else ""


def results(batch_id: str) -> str:
    """Key of all answers, put together as OpenAI's batches give them."""
    return f"{transform(batch_id)}results.jsonl"
