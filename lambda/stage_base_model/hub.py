"""The Hugging Face hub, by plain HTTPS: which files a model needs, and their bytes."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

_NEEDED = re.compile(
    r"config\.json|generation_config\.json|.+\.safetensors|.+\.safetensors\.index\.json"
    r"|tokenizer.*|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt"
    r"|spiece\.model|chat_template.*"
    # Of a model that can also see, such as gemma-3-4b, vLLM makes the processor though nobody sends pictures.
    r"|(pre)?processor_config\.json"
)
# Mistral's repositories hold the same weights a second time, in their own format.
_TWICE = re.compile(r"consolidated.*")


class HubError(Exception):
    """The hub refuses or lacks a model; the message says what to do."""


@dataclass(frozen=True)
class HubFile:
    """One file of a model's repository."""

    name: str
    size: int
    """Bytes."""
    sha256: str | None
    """Known for large files only."""


class Hub:
    """One model at one revision."""

    def __init__(self, model_id: str, token: str | None) -> None:
        """Open a connection.

        Args:
            model_id: `owner/name`.
            token: access token, needed for gated models.
        """
        self._model_id = model_id
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # HF_ENDPOINT is the hub's own variable for a mirror.
        self._client = httpx.Client(
            base_url=os.environ.get("HF_ENDPOINT", "https://huggingface.co"),
            headers=headers,
            follow_redirects=True,
            timeout=httpx.Timeout(30, read=60),
            transport=httpx.HTTPTransport(retries=3),
        )

    def commit(self, revision: str) -> str:
        """Resolve a branch, a tag or a commit to a commit."""
        response = self._client.get(f"/api/models/{self._model_id}/revision/{revision}")
        self._check(response)
        return str(response.json()["sha"])

    def files(self, commit: str) -> list[HubFile]:
        """List the files that training and hosting need, small ones first.

        Raises:
            HubError: where the model has no safetensors weights.
        """
        response = self._client.get(f"/api/models/{self._model_id}/tree/{commit}")
        self._check(response)
        files = [
            HubFile(entry["path"], entry["size"], entry.get("lfs", {}).get("oid"))
            for entry in response.json()
            if entry["type"] == "file"
            and _NEEDED.fullmatch(entry["path"])
            and not _TWICE.fullmatch(entry["path"])
        ]
        if not any(file.name.endswith(".safetensors") for file in files):
            raise HubError(
                f"{self._model_id} at {commit} has no .safetensors weights, and pickled ones can run code. "
                "Choose a model with safetensors as base_model in cdk.json."
            )
        return sorted(files, key=lambda file: file.size)

    def read(self, commit: str, name: str) -> bytes:
        """Return the whole of a small file."""
        with self.download(commit, name) as chunks:
            return b"".join(chunks)

    @contextmanager
    def download(self, commit: str, name: str) -> Iterator[Iterator[bytes]]:
        """Stream one file's bytes."""
        with self._client.stream("GET", f"/{self._model_id}/resolve/{commit}/{name}") as response:
            self._check(response)
            yield response.iter_bytes(2**20)

    def _check(self, response: httpx.Response) -> None:
        if response.status_code in {401, 403}:
            raise HubError(
                f"Hugging Face does not let us read {self._model_id}: it is gated, private, or does not "
                f"exist. Accept its licence at https://huggingface.co/{self._model_id} while signed in, "
                "store an access token in AWS Secrets Manager, set huggingface_token_secret in cdk.json to "
                "the secret's name, and deploy again."
            )
        if response.status_code == 404:
            raise HubError(
                f"Hugging Face has no {response.url.path} for {self._model_id}. Check base_model and "
                "base_model_revision in cdk.json."
            )
        response.raise_for_status()
