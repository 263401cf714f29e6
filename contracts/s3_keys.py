"""The keys of the artifacts bucket (docs/contracts.md describes their contents).

Called with `*`, a function gives the pattern of its keys for IAM: `manifest("*")` is `runs/*/manifest.jsonl`,
and `below(read_prefix("*"))` is everything under the prefixes of all runs.
"""

from urllib.parse import urlsplit

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = (ADAPTER_WEIGHTS, ADAPTER_CONFIG)
"""The files of a PEFT adapter folder that the endpoint needs."""
STAGED_FILE = "staged.json"
"""Beside the files of a base model: their list, written when all are there."""
SERVING_FILE = "serving.yaml"
"""Beside the weights of a bundle: the configuration of its server."""
CHAT_TEMPLATE = "chat_template.jinja"
"""Template beside an adapter that was trained on plain texts; it turns a chat into such a text."""


def uri(bucket: str, key: str) -> str:
    """Join a bucket and a key or prefix to `s3://bucket/key`."""
    return f"s3://{bucket}/{key}"


def split(s3_uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into bucket and key.

    Raises:
        ValueError: the text is not an S3 URI.
    """
    parts = urlsplit(s3_uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise ValueError(f"{s3_uri!r} is not an S3 URI of the form s3://bucket/key.")
    return parts.netloc, parts.path.removeprefix("/")


def below(prefix: str) -> str:
    """Return the pattern of all keys below a prefix."""
    return f"{prefix}*"


TRAINING_CODE = "training-code/"
"""Prefix of the training code, with one folder for each version of its content."""


def training_code(content: str) -> str:
    """Prefix of the training code with this digest."""
    return f"{TRAINING_CODE}{content}/"


BASE_MODELS = "base-models/"
"""Prefix of all staged base models."""


def base_model(slug: str, revision: str) -> str:
    """Prefix of a staged base model."""
    return f"{BASE_MODELS}{slug}/{revision}/"


def staged_marker(slug: str, revision: str) -> str:
    """Key of the list of files that is written when a base model is complete."""
    return f"{base_model(slug, revision)}{STAGED_FILE}"


def staging_progress(slug: str, revision: str) -> str:
    """Key of the progress of copying a base model; it exists until the model is complete."""
    return f"{base_model(slug, revision)}staging.json"


RUNS = "runs/"
"""Prefix of the files of all runs."""


def run(run_id: str) -> str:
    """Prefix of the files of one run."""
    return f"{RUNS}{run_id}/"


def manifest(run_id: str) -> str:
    """Key of the frozen list of story versions."""
    return f"{run(run_id)}manifest.jsonl"


def batches(run_id: str) -> str:
    """Key of the same list in batches, one a line: the items of the Distributed Map."""
    return f"{run(run_id)}batches.jsonl"


def read_prefix(run_id: str) -> str:
    """Prefix of the records and rejects."""
    return f"{run(run_id)}read/"


def read_batch(run_id: str, batch_digest: str) -> str:
    """Key of one batch's records and rejects; the digest is sha256 hex of the batch."""
    return f"{read_prefix(run_id)}{batch_digest[:16]}.jsonl"


def read_results(run_id: str) -> str:
    """Prefix of the results that the Distributed Map writes."""
    return f"{run(run_id)}read-results/"


CACHE = "cache/"
"""Prefix of what can be produced again, and may be deleted at any time."""
CACHED_STORIES = f"{CACHE}stories/"
"""Prefix of the cached results of reading files."""


def cached_file(file_digest: str) -> str:
    """Prefix of the cached results of one file; the digest is sha256 hex of its name and content."""
    return f"{CACHED_STORIES}{file_digest[:32]}/"


def cached_stories(file_digest: str, reader: str) -> str:
    """Key of the records and rejects of one file, read by the version `reader` of the reading code."""
    return f"{cached_file(file_digest)}{reader}.jsonl"


LEDGER = "split/ledger.json"
"""Key of the split's ledger, from which the next run starts."""


def ledger_used(run_id: str) -> str:
    """Key of the ledger that a run's split was made with."""
    return f"{run(run_id)}ledger.json"


def whole_dataset(run_id: str) -> str:
    """Prefix of all parts of the dataset."""
    return f"{run(run_id)}dataset/"


def dataset(run_id: str, part: str) -> str:
    """Prefix of one part of the dataset: `train`, `validation` or `test`."""
    return f"{whole_dataset(run_id)}{part}/"


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
    """Prefix of the weights of base and adapter merged, if the base can be hosted only merged."""
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
    return f"{hosting(version)}{SERVING_FILE}"


def hosted_base(version: str) -> str:
    """Prefix of the weights that a bundle's server starts with: the base model's, or the merged ones."""
    return f"{hosting(version)}base/"


def chat_template(version: str) -> str:
    """Key of the chat template in a bundle whose base model has none of its own."""
    return f"{hosting(version)}{CHAT_TEMPLATE}"


def hosted_adapter(version: str, adapter_version: str) -> str:
    """Prefix of one adapter in a version's bundle."""
    return f"{hosting(version)}adapters/{adapter_version}/"


TRANSFORMS = "transforms/"
"""Prefix of the files of batches, which the bucket deletes after 30 days."""


TRANSFORM_MODELS = f"{TRANSFORMS}model/"
"""Prefix of all packed models."""


def transform_models(version: str) -> str:
    """Prefix of the archives of a version's hosting bundle, one for each version of its content."""
    return f"{TRANSFORM_MODELS}{version}/"


def transform_model(version: str, content: str) -> str:
    """Key of a version's hosting bundle as one archive, because transform jobs accept no folder.

    Args:
        version: the version that the bundle was built for.
        content: digest of the bundle's content.
    """
    return f"{transform_models(version)}{content}/model.tar.gz"


TRANSFORM_BATCHES = f"{TRANSFORMS}batch/"
"""Prefix of all batches."""


def transform(batch_id: str) -> str:
    """Prefix of one batch."""
    return f"{TRANSFORM_BATCHES}{batch_id}/"


def prompts(batch_id: str) -> str:
    """Key of the file of prompts, as it was uploaded."""
    return f"{transform(batch_id)}prompts"


def custom_ids(batch_id: str, check_id: str) -> str:
    """Key of the custom ids of the lines that one check read, in their order."""
    return f"{transform(batch_id)}{_of_check(check_id)}custom_ids.json"


def all_requests(batch_id: str) -> str:
    """Prefix of the requests of all checks."""
    return f"{transform(batch_id)}requests/"


def requests(batch_id: str, check_id: str) -> str:
    """Prefix of the lines that one check read, as requests to the model, one a line, in parts.

    Each check has a prefix of its own, so that a job reads only what one check wrote.
    """
    return f"{all_requests(batch_id)}{_of_check(check_id)}"


def request_part(batch_id: str, check_id: str, number: int) -> str:
    """Key of one part of the requests; the first is number 0."""
    return f"{requests(batch_id, check_id)}{number:05}.jsonl"


def all_answers(batch_id: str) -> str:
    """Prefix of the answers to the requests of all checks."""
    return f"{transform(batch_id)}answers/"


def answers(batch_id: str, check_id: str) -> str:
    """Prefix of the transform job's answers; those to `00000.jsonl` are in `00000.jsonl.out`."""
    return f"{all_answers(batch_id)}{_of_check(check_id)}"


def _of_check(check_id: str) -> str:
    # Batches that an older version of the app checked have no check id.
    return f"{check_id}/" if check_id else ""


def results(batch_id: str) -> str:
    """Key of all answers, in the format of OpenAI's batches."""
    return f"{transform(batch_id)}results.jsonl"
