"""Where one GitHub is: its API, its GraphQL, what browsers see; and the questions that can be asked there. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from tinytown.errors import Invalid, brief
from tinytown.missions.references import is_reference, split, url_pattern

PUBLIC_API = "https://api.github.com"


@dataclass(frozen=True, slots=True)
class Place:
    """An issue or pull request: `repository` is `owner/repo`."""

    repository: str
    number: int
    is_pull: bool


def web_url(api_url: str) -> str:
    """What browsers open, for the API at this URL: an Enterprise server, a tenant of GitHub's own, or github.com."""
    parts = urlsplit(api_url)
    is_server = parts.path.rstrip("/").endswith("/api/v3")  # which may well be called api.something
    return f"{parts.scheme}://{parts.netloc if is_server else parts.netloc.removeprefix('api.')}"


def graphql_url(api_url: str) -> str:
    """Where GraphQL is answered."""
    return re.sub(r"/v3$", "", api_url.rstrip("/")) + "/graphql"


def place(ref: str, web: str) -> Place:
    """The thing meant by `owner/repo#N` (an issue) or the URL of an issue or pull request. Raises Invalid."""
    if is_reference(ref):
        return Place(*split(ref), is_pull=False)
    found = url_pattern(web).fullmatch(ref)
    if found is None:
        raise Invalid(f"{brief(ref)} is no issue or pull request at {web}.", "Set [github] api_url for another server.")
    return Place(found["repository"], int(found["number"]), is_pull=found["what"] != "issues")
