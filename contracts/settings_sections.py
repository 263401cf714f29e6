"""The settings a person may change, each declared in one field.

`contracts.settings` puts the sections together and reads them from the CDK context; `make docs` writes the
defaults of `cdk.json` and the tables of `docs/settings.md` from them. A section that functions read as a
whole is a base of their environment's group (`contracts/environment.py`): a new setting needs no line there.
"""

from typing import Literal

from contracts import catalogue
from contracts.setting_types import (
    AmiName,
    Email,
    InstancePrices,
    LocalUrl,
    Names,
    Percentage,
    QuietSeconds,
    SettingsSection,
    setting,
)

ApprovalMode = Literal["automatic", "manual"]


class AppSettings(SettingsSection):
    """The app."""

    name: str = setting(
        "storyloom",
        pattern=r"^[a-z][a-z0-9-]{1,18}[a-z0-9]$",
        meaning="Prefix of everything that is created at run time (jobs, endpoint, model packages) and, "
        "with its first letter upper-cased, of the stacks. 3 to 20 of `a-z`, `0-9`, `-`. With another name "
        "the app can be deployed twice in a region ([deploying](deploying.md)).",
        cure="Use 3 to 20 of a-z, 0-9 and -, beginning with a letter and not ending with -",
    )
    admin_email: Email = setting(
        "",
        meaning="E-mail address of the first owner, who may sign in and invite others "
        "([people](people.md)); without it nothing is deployed to AWS. Cognito sends a one-time password "
        "there. Messages about runs and the budget go there too, once you have confirmed the subscription "
        "that SNS mails you.",
        cure="Give an e-mail address such as writer@example.com, or leave it empty",
    )


class ModelSettings(SettingsSection):
    """The base model."""

    base_model: str = setting(
        "smollm2-1.7b",
        meaning="The open model that learns your stories: a name of the catalogue below, or any causal "
        "language model on Hugging Face as `owner/name`.",
        cure=f"Give one of {', '.join(catalogue.names())}, or the id of a causal model as owner/name",
    )
    base_model_revision: str = setting(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,64}$",
        meaning="Commit, tag or branch of the model's repository. Empty takes the catalogue's commit. A "
        "model that is not in the catalogue is taken from `main`, and its commit at that time is recorded "
        "beside the staged files; set it here to keep it.",
        cure="Give a commit, tag or branch of the model's repository, or leave it empty",
    )
    huggingface_token_secret: str = setting(
        "",
        pattern=r"^[A-Za-z0-9/_+=.@-]{0,256}$",
        meaning="Name of the Secrets Manager secret with your Hugging Face token. Only gated models need it.",
        cure="Give the name of a secret in Secrets Manager, or leave it empty",
    )


class UploadSettings(SettingsSection):
    """When a run starts."""

    quiet_seconds: QuietSeconds = setting(
        300,
        unit="seconds",
        meaning="A run starts when no story has arrived for this long.",
        cure="Give whole seconds from 5 to 86400",
    )
    max_quiet_seconds: QuietSeconds = setting(
        1800,
        unit="seconds",
        meaning="A run starts at most this long after the first new story, even if others keep arriving; "
        "later ones are for the next run. If it is shorter than `quiet_seconds`, `quiet_seconds` is used.",
        cure="Give whole seconds from 5 to 86400",
    )


class TrainingSettings(SettingsSection):
    """Training."""

    minimum_words: int = setting(
        5000,
        ge=1,
        unit="words",
        meaning="With less text than this the run ends before any GPU is paid for.",
        cure="Give a whole number of words, 1 or more",
    )
    ask_before_training: bool = setting(
        False,
        meaning="With `true` each run stops after the data report, tells you what it found and what "
        "training would cost, and waits 7 days for your approval: on the page, or with `storyloom approve "
        "RUN`. Nothing is spent on a GPU before.",
    )
    training_instance: str = setting(
        "ml.g6.xlarge",
        meaning="GPU instance of the training job, and of the evaluation after it. SageMaker has no "
        "processing jobs on `ml.p4d.24xlarge`, `ml.p4de.24xlarge` and `ml.p5.48xlarge`: after a training "
        "there, the evaluation takes the first of `hosting_instance` and `hosting_fallback_instances` that "
        "the model fits into.",
        cure="Give a GPU instance such as ml.g6.xlarge",
    )
    instance_count: int = setting(
        1,
        ge=1,
        le=16,
        unit="instances",
        meaning="Number of instances that share one training, each paid for. Two halve the time of a "
        "long training; a short one spends it on starting. What they send each other is encrypted.",
        cure="Give a whole number of training instances from 1 to 16",
    )
    spot: bool = setting(
        True,
        meaning="Train on spot instances: about a third of the price; the job may wait for one, and "
        "continues from its checkpoint after an interruption.",
    )
    max_training_minutes: int = setting(
        240,
        ge=1,
        le=5 * 24 * 60 - 30,
        unit="minutes",
        meaning="Training ends by itself after this and keeps its best adapter. SageMaker stops the job "
        "30 minutes later in any case.",
        cure="Give whole minutes from 1 to 7170 (SageMaker ends a job after five days)",
    )


class SearchSettings(SettingsSection):
    """The search for better hyperparameters."""

    tune: bool = setting(
        False,
        meaning="With `true` each run searches for hyperparameters: it trains several times with other "
        "ranks, learning rates and epochs, stops unpromising trials, and uses the one with the lowest loss "
        "on the validation stories.",
    )
    tuning_jobs: int = setting(
        6,
        ge=2,
        le=100,
        unit="trials",
        meaning="Number of trials of a search, unless its budget pays for fewer.",
        cure="Give a whole number of trials from 2 to 100",
    )
    tuning_budget_usd: float = setting(
        10,
        gt=0,
        unit="US dollars",
        meaning="What a run's search may cost at most, at on-demand prices. It decides, before the first "
        "trial, how many there are and how long each may take. If it does not pay for two, or the "
        "instance's price is not known, the run trains once.",
        cure="Give an amount of dollars above 0",
    )


class GateSettings(SettingsSection):
    """The gate."""

    minimum_improvement_percent: float = setting(
        2,
        ge=0,
        lt=100,
        unit="percent",
        meaning="How much lower than the base model's the new model's perplexity must be for it to be "
        "deployed.",
        cure="Give a percentage from 0 to below 100",
    )
    maximum_copy_percent: Percentage = setting(
        10,
        unit="percent",
        meaning="A new model is rejected if more of what it writes than this is copied word for word, "
        "twelve words or more in a row, from the stories it was trained on: with a free prompt, or with "
        "a story's first words. What the base model already knows is allowed.",
        cure="Give a percentage from 0 to 100",
    )
    maximum_repetition_percent: Percentage = setting(
        50,
        unit="percent",
        meaning="A new model is rejected if more of what it writes than this repeats what it has just "
        "written (sequences of four words).",
        cure="Give a percentage from 0 to 100",
    )
    minimum_ending_percent: Percentage = setting(
        0.00001,
        unit="percent",
        meaning="A new model is rejected if the probability that it ends where your stories end is lower "
        "than this, and it ended none of the texts that it should end. The default is next to nothing, "
        "because a model trained on few stories mostly continues to the limit. With a few hundred stories "
        "`1` is a fair demand.",
        cure="Give a percentage from 0 to 100",
    )


class ApprovalSettings(SettingsSection):
    """Approval of a version."""

    approval: ApprovalMode = setting(
        "automatic",
        meaning="`automatic`: a version that passed the gate is deployed at once. `manual`: it is "
        "registered, you get a message, and it waits without a time limit for your approval: on the page "
        "under *Versions*, with `storyloom models approve v3`, or in SageMaker's Model Registry.",
        cure="Give automatic or manual",
    )


class HostingSettings(SettingsSection):
    """Hosting."""

    hosting_instance: str = setting(
        "ml.g6.xlarge",
        meaning="GPU instance of the endpoint.",
        cure="Give a GPU instance such as ml.g6.xlarge",
    )
    hosting_fallback_instances: Names = setting(
        ("ml.g5.xlarge", "ml.g6e.xlarge"),
        meaning="Instances that are tried one after the other if AWS has no `hosting_instance` available "
        "or your quota does not allow one: a list, or with `-c` names separated by commas. Empty tries no "
        "other. Instances of the default list that the model does not fit into are skipped; one that you "
        "name must fit. A dearer instance costs more while the model is awake.",
        cure="Give GPU instances such as ml.g5.xlarge,ml.g6e.xlarge, or leave it empty",
    )
    idle_minutes: float = setting(
        15,
        gt=0,
        le=24 * 60,
        unit="minutes",
        meaning="The endpoint is deleted after this long without a message. The next message creates it "
        "again, which takes some minutes.",
        cure="Give minutes above 0, 1440 at most",
    )
    hosting_max_instances: int = setting(
        1,
        ge=1,
        le=4,
        unit="instances",
        meaning="How many instances may answer at once, 1 to 4. With more than one, Application Auto "
        "Scaling adds instances while many answers are being written, and removes them again. **Each is "
        "paid for**: with `ml.g6.xlarge` at most $1.13 an hour for 1, $4.52 for 4, for as long as requests "
        "keep coming. Your quota for endpoint usage must allow twice as many, because a new version starts "
        "beside the one in service.",
        cure="Give a whole number of instances from 1 to 4; each of them is paid for",
    )
    answers_per_instance: int = setting(
        8,
        ge=1,
        le=256,
        unit="answers",
        meaning="How many answers an instance writes at once before another instance is added (a "
        "streamed answer counts until its last token). The default is a starting point, not a measured "
        "optimum: with a small model on a large GPU give more.",
        cure="Give a whole number of answers from 1 to 256",
    )
    watch_minutes: float = setting(
        5,
        ge=0,
        le=15,
        unit="minutes",
        meaning="How long the instances of the previous version stay after a new version was deployed to "
        "an awake endpoint: if the model fails or is slow in that time, SageMaker rolls back to the "
        "previous version. Both are paid for meanwhile. 0 to 15; with 0 there is no rollback.",
        cure="Give minutes from 0 to 15",
    )
    inference_ami: AmiName = setting(
        "al2023-ami-sagemaker-inference-gpu-4-1",
        meaning="SageMaker's `InferenceAmiVersion`: the driver of the endpoint's instance must suit the "
        "container's CUDA. Empty takes SageMaker's default.",
        cure="Give one of SageMaker's InferenceAmiVersion names, or leave it empty",
    )


class BatchSettings(SettingsSection):
    """Batches."""

    transform_ami: AmiName = setting(
        "al2-ami-sagemaker-batch-gpu-535",
        meaning="SageMaker's `TransformAmiVersion`, the driver of the instances that answer batches. "
        "This is the newest one (driver 535); the container's CUDA 13 runs on it with its own compatibility "
        "libraries. Empty takes SageMaker's default.",
        cure="Give one of SageMaker's TransformAmiVersion names, or leave it empty",
    )


class CostSettings(SettingsSection):
    """Costs and limits."""

    monthly_budget_usd: float = setting(
        50,
        gt=0,
        unit="US dollars",
        meaning="Amount of the AWS budget for the whole account, which sends e-mail and stops nothing "
        "(`monthly_limit_usd` does): when half or all of it is spent, and if the forecast exceeds it.",
        cure="Give an amount of dollars above 0",
    )
    monthly_limit_usd: float = setting(
        50,
        ge=0,
        unit="US dollars",
        meaning="The most that all paid work together may cost in a month (UTC): trainings, evaluations, "
        "searches, batches and the endpoint. The most that each may cost is reserved before it begins. What "
        "would exceed the limit is refused with 402, and a model that can no longer be paid for goes to "
        "sleep ([costs.md](costs.md#the-months-limit)). An instance whose price is not known is refused. "
        "With `0` there is no limit: costs are counted, and nothing is refused.",
        cure="Give an amount of dollars, or 0 for no limit",
    )
    instance_prices_usd: InstancePrices = setting(
        {},
        unit="US dollars an hour",
        meaning='Prices that you give by hand, in US dollars an hour on demand: `{"ml.g6.xlarge": '
        "1.13}`, or with `-c ml.g6.xlarge=1.13,ml.g5.xlarge=1.41`. They apply to training, evaluation, "
        "hosting and batches alike, and replace those that AWS lists. Give one if `storyloom doctor` finds "
        "no price for an instance in your region, or if you pay another price.",
        cure='Give dollars an hour by instance, such as {"ml.g6.xlarge": 1.13}, or with -c '
        "ml.g6.xlarge=1.13,ml.g5.xlarge=1.41",
    )
    daily_tokens_per_person: int = setting(
        200_000,
        ge=1,
        unit="tokens",
        meaning="Tokens of prompts and answers together that each person may use in a day (UTC), "
        "together with all their API keys. An answer that has begun is finished. A batch counts on the day "
        "on which it is started, each answer with its greatest length, and begins only if tokens of the day "
        "are left; it may be larger than what is left.",
        cure="Give a whole number of tokens, 1 or more",
    )


class PlatformSettings(SettingsSection):
    """The platform."""

    function_python: str = setting(
        "3.14",
        pattern=r"^3\.1[1-4]$",
        meaning="Python version of the Lambda functions. On one machine it is the machine's own.",
        cure="Give 3.11, 3.12, 3.13 or 3.14",
    )
    browser_endpoint: LocalUrl = setting(
        "",
        meaning="On one machine: the address at which the browser finds everything "
        "(`http://localhost:PORT`). Empty on AWS.",
        cure="Give http://localhost:PORT, or leave it empty on AWS",
    )


SECTIONS: tuple[type[SettingsSection], ...] = (
    AppSettings,
    ModelSettings,
    UploadSettings,
    TrainingSettings,
    SearchSettings,
    GateSettings,
    ApprovalSettings,
    HostingSettings,
    BatchSettings,
    CostSettings,
    PlatformSettings,
)
"""The sections in the order in which people read them."""
