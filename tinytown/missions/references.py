"""References to issues: `23`, `owner/repo#23` or a URL, each to the one form that records hold, `owner/repo#23`."""

from __future__ import annotations

import re
from functools import lru_cache

from tinytown.errors import Invalid, brief

WEB = "https://github.com"
# Owners have no dot; an underscore is in the names that companies manage. Repositories have nearly anything.
OWNER = r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}"
REPOSITORY = rf"{OWNER}/(?!\.{{1,2}}(?![A-Za-z0-9._-]))[A-Za-z0-9._-]{{1,100}}"
NUMBER = r"[1-9][0-9]{0,9}"

_WHOLE = re.compile(rf"({REPOSITORY})#({NUMBER})")
_SHORT = re.compile(rf"#?({NUMBER})")
_PULL = re.compile(r"/pulls?/[0-9]+")
_REMOTE = re.compile(
    r"(?:(?P<scheme>https?|ssh|git)://(?:[^/@\s]*@)?(?P<host>[^/\s]+)/|(?:[^/@:\s]+@)(?P<alias>[^/:\s]+):/?)"
    rf"(?P<repository>{REPOSITORY})/?"
)
_FORMS = "Write 23, owner/repo#23 or {}/owner/repo/issues/23."


def parse(text: str, origin: str | None = None, web: str = WEB) -> str:
    """The issue as `owner/repo#23`; a bare number is one of `origin` (`owner/repo`). Raises Invalid.

    `web` is where browsers find GitHub (an Enterprise server has a host of its own).
    """
    given = text.strip()
    if short := _SHORT.fullmatch(given):
        if origin is None:
            raise Invalid(
                f"'{brief(given)}' does not say which repository: the town has no GitHub origin.",
                f"Write owner/repo#{short[1]}.",
            )
        return f"{origin}#{short[1]}"
    if _WHOLE.fullmatch(given):
        return given
    if found := url_pattern(web).fullmatch(given):
        if found["what"] != "issues":
            raise Invalid(f"{brief(given)} is a pull request, not an issue.", "Give the issue that it is for.")
        return f"{found['repository']}#{found['number']}"
    raise _refusal(given, web)


def is_reference(text: str) -> bool:
    """Tell whether this is `owner/repo#23`."""
    return _WHOLE.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """Tell whether this is `owner/repo`."""
    return re.fullmatch(REPOSITORY, text) is not None


def key(reference: str) -> str:
    """What two references to the same issue have in common: GitHub does not tell capitals from small letters."""
    return reference.lower() if is_reference(reference) else reference


def split(reference: str) -> tuple[str, int]:
    """Repository and number of `owner/repo#23`."""
    repository, _, number = reference.rpartition("#")
    return repository, int(number)


def short(reference: str, origin: str | None) -> str:
    """As people write it in this town: `#23` for an issue of `origin`, else all of it."""
    if origin is None or not is_reference(reference):
        return reference
    repository, number = split(reference)
    return f"#{number}" if repository.lower() == origin.lower() else reference


def repository_of(remote: str, web: str = WEB) -> str | None:
    """The `owner/repo` that the URL of a git remote means; None when it is not on this GitHub."""
    found = _REMOTE.fullmatch(remote.strip())
    if found is None:
        return None
    given, wanted = (found["host"] or found["alias"]).lower(), _host(web).lower()
    if found["scheme"] not in {"http", "https"}:  # ssh has ports, and a second host, of its own
        given, wanted = given.partition(":")[0].removeprefix("ssh."), wanted.partition(":")[0]
    if given.removeprefix("www.") != wanted.removeprefix("www."):
        return None
    repository = found["repository"].removesuffix(".git")
    return repository if is_repository(repository) else None


@lru_cache(maxsize=8)
def url_pattern(web: str = WEB) -> re.Pattern[str]:
    """URLs of issues and pull requests there, with whatever follows the number: `repository`, `what`, `number`."""
    host = re.escape(_host(web).removeprefix("www."))
    return re.compile(
        rf"(?:https?://)?(?:www\.)?{host}/(?P<repository>{REPOSITORY})/(?P<what>issues|pulls?)/(?P<number>{NUMBER})"
        r"(?![0-9A-Za-z])(?:[/?#][^\s<>()\[\]\"'`|\0]*)?",
        re.IGNORECASE,
    )


def _host(web: str) -> str:
    return web.rstrip("/").partition("://")[2] or web.rstrip("/")


def _refusal(given: str, web: str) -> Invalid:
    remedy = _FORMS.format(web.rstrip("/"))
    if not given:
        return Invalid("An issue's reference is empty.", remedy)
    if "://" in given and "/issues/" in given and _host(web).lower() not in given.lower():
        return Invalid(f"{brief(given)} is not at {_host(web)}.", "Set [github] api_url for another server.")
    if "://" in given and _PULL.search(given):
        return Invalid(f"{brief(given)} is a pull request, not an issue.", "Give the issue that it is for.")
    return Invalid(f"'{brief(given)}' is no reference to an issue.", remedy)
