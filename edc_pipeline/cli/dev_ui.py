"""What `edc dev` asks of the Dagster UI."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Final

_TIMEOUT_S: Final = 20.0  # a reload starts a process, 2 to 4 s

_LOCATIONS: Final = """{ workspaceOrError { ... on Workspace { locationEntries { name
    locationOrLoadError { ... on PythonError { className } } } } } }"""
_RELOAD: Final = """mutation($name: String!) {
    reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }"""


def answers(url: str) -> bool:
    try:
        # Our own address, http only.
        with urllib.request.urlopen(f"{url}/server_info", timeout=2.0) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def revive_code_server(url: str) -> bool:
    """Start the code server anew if it has died; says whether it had.

    Dagster's proxy does not restart the process that it stands for: until somebody presses Reload
    no sensor runs and nothing can be materialised (measured with 1.13.27).
    """
    try:
        entries = _ask(url, _LOCATIONS, {})["workspaceOrError"]["locationEntries"]
        dead = [
            entry["name"]
            for entry in entries
            # A mistake in the code has another name; it is not mended by a reload.
            if (entry["locationOrLoadError"] or {}).get("className")
            == "DagsterUserCodeUnreachableError"
        ]
        for name in dead:
            _ask(url, _RELOAD, {"name": name})
    except (urllib.error.URLError, OSError, ValueError, KeyError):
        return False
    return bool(dead)


def _ask(url: str, query: str, variables: dict[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - our own address, http only
        f"{url}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        data: dict[str, Any] = json.load(answer)["data"]
    return data
