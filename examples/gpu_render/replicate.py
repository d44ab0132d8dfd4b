"""The provider: as much of Replicate's API as two tasks need.

Source: https://replicate.com/docs/reference/http
"""

from __future__ import annotations

import os
from typing import Any, Self

import httpx

from celery_external import Failed, Progress, Succeeded

# For the tests and the show, a stand-in.
API_URL = "REPLICATE_API_URL", "https://api.replicate.com"
FILES_URL = "REPLICATE_FILES_URL", "https://replicate.delivery"


class Replicate:
    """A connection to the API, a context manager.

    REPLICATE_API_TOKEN is the account's, REPLICATE_VERSION the id of a model's version.
    """

    def __init__(self) -> None:
        token = os.environ["REPLICATE_API_TOKEN"]
        self._api = httpx.Client(
            base_url=os.environ.get(*API_URL),
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,  # a poller that hangs holds its place in the worker
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._api.close()

    def create(self, prompt: str, *, webhook: str | None = None) -> str:
        """Start a prediction and return its id; ``webhook`` is called once it has ended."""
        version = os.environ["REPLICATE_VERSION"]
        order: dict[str, Any] = {"version": version, "input": {"prompt": prompt}}
        if webhook is not None:
            order |= {"webhook": webhook, "webhook_events_filter": ["completed"]}
        answer = self._api.post("/v1/predictions", json=order).raise_for_status()
        return str(answer.json()["id"])

    def get(self, prediction_id: str) -> dict[str, Any]:
        """A prediction as it now is."""
        answer = self._api.get(f"/v1/predictions/{prediction_id}").raise_for_status()
        prediction: dict[str, Any] = answer.json()
        return prediction


def read_prediction(prediction: dict[str, Any]) -> Succeeded | Failed | Progress | None:
    """What a prediction says, whether we have asked for it or were told."""
    match prediction["status"]:
        case "succeeded":
            output = prediction["output"]  # a list, of a model that can make several
            return Succeeded(output[0] if isinstance(output, list) else output)
        case "failed" | "canceled":
            return Failed(prediction["error"] or prediction["status"])
        case "processing":
            return Progress(message="rendering")
    return None


def download(url: str) -> bytes:
    """A picture that a prediction has made; nothing is fetched from anywhere else."""
    files_url = os.environ.get(*FILES_URL)
    if not url.startswith(f"{files_url}/"):
        message = f"not a file of the provider's: {url}"
        raise ValueError(message)
    return httpx.get(url, timeout=30).raise_for_status().content
