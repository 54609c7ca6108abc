"""Start: everything is fetched, read and compiled first, then stored in one step; an error leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.services.missions.test_control import refuses
from tests.support import invariants
from tests.support.builders import make_item, make_mission
from tests.support.github.server import GitHub
from tests.support.missions import file_now, put_mission
from tests.support.town import events, in_processes, register, snapshot
from tinytown.config import GithubConfig, MissionConfig
from tinytown.domain.mission import MissionState, Policy
from tinytown.domain.work import WorkStatus
from tinytown.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from tinytown.services.caller import Caller
from tinytown.services.missions import preview, starting
from tinytown.services.missions.starting import StartRequest
from tinytown.town import Town

pytestmark = pytest.mark.slow

PERSON = Caller()


@pytest.fixture
def here(supervised: Town, github: GitHub, monkeypatch: pytest.MonkeyPatch) -> Town:
    """A town whose repository is `acme/web` on that GitHub; the working directory is its folder."""
    monkeypatch.chdir(supervised.root)
    origin = f"{github.web_url}/acme/web.git"
    subprocess.run(["git", "init", "-q"], cwd=supervised.root, check=True)
    subprocess.run(["git", "remote", "add", "origin", origin], cwd=supervised.root, check=True)
    return Town(supervised.root, replace(supervised.config, github=GithubConfig(github.api_url)))


def three_issues(github: GitHub) -> None:
    """Those of the tutorial."""
    github.issue("acme/web", 1, title="Design auth API", body="Design the schema.\n\n- login\n- logout")
    github.issue("acme/web", 2, title="Implement auth endpoints", body="Depends on #1.")
    github.issue("acme/web", 3, title="Write auth tests", body="After #2, and blocked by acme/api#7. Requires #8.")
    github.issue("acme/api", 7)
    github.issue("acme/web", 8, state="closed")


def test_three_issues(here: Town, github: GitHub) -> None:
    """The whole of each issue is stored, in the order of the graph, with one event; the mission is active."""
    three_issues(github)

    done = starting.start(here, StartRequest(issues=("3", "acme/web#2", f"{github.web_url}/acme/web/issues/1")), PERSON)

    file = file_now(here, done.run)
    run = file.run
    assert (run.state, run.objectives) == (MissionState.RUNNING, ["acme/web#3", "acme/web#2", "acme/web#1"])
    assert (run.repositories, run.policy) == (["acme/web"], Policy())
    items = list(file.items.values())
    assert items == done.items
    assert [(i.number, i.source_ref, i.title, i.status) for i in items] == [
        (1, "acme/web#1", "Design auth API", WorkStatus.PENDING),
        (2, "acme/web#2", "Implement auth endpoints", WorkStatus.PENDING),
        (3, "acme/web#3", "Write auth tests", WorkStatus.PENDING),
    ]
    assert items[0].body == "Design the schema.\n\n- login\n- logout"
    assert [i.depends_on for i in items] == [[], [items[0].id], [items[1].id]]
    assert items[2].outside == ["acme/api#7"]
    assert done.warnings == ["acme/api#7 is open and not in the mission: acme/web#3 waits for it"]
    assert here.store.missions.active_ids() == [run.id]
    (event,) = events(here, "mission_started")
    assert (event["mission_id"], event["new_state"]) == (run.id, "running")
    assert here.store.missions.events(run.id, 9)[0]["text"] == "Started by user: 3 objective(s), 3 work item(s)"
    invariants.check(here, settled=False)


def test_a_dependency_outside_that_cannot_be_read(here: Town, github: GitHub) -> None:
    """An error that says who depends on it, and leaves nothing; a manifest may free the item."""
    github.issue("acme/web", 1, body="Depends on #404.")
    before = snapshot(here)
    with pytest.raises(NotFound, match="acme/web#404") as refused:
        starting.start(here, StartRequest(issues=("1",)), PERSON)
    assert refused.value.remedy is not None
    assert refused.value.remedy.startswith("acme/web#1 depends on it")
    assert snapshot(here) == before
    (here.root / "free.toml").write_text("[[overrides]]\nissue = 1\ndepends_on = []\n")
    assert starting.prepare(here, StartRequest(issues=("1",), manifest="free.toml")).items[0].outside == []


def test_issues_of_several_repositories(here: Town, github: GitHub) -> None:
    """The same issue twice counts once; pull requests are looked for in all repositories, the town's own included."""
    github.issue("acme/api", 7)
    github.issue("acme/Tools", 7)
    asked: list[str] = []
    done = starting.prepare(here, StartRequest(issues=("acme/api#7", "Acme/API#7", "acme/Tools#7")), asked.append)
    assert [item.source_ref for item in done.items] == ["acme/api#7", "acme/Tools#7"]
    assert done.run.repositories == ["acme/api", "acme/tools", "acme/web"]
    assert asked == ["Fetching acme/api#7 (1 of 2)...", "Fetching acme/Tools#7 (2 of 2)..."]


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (StartRequest(), Invalid, "At least one --issue or --doc is required"),
        (StartRequest(manifest="other.toml"), Invalid, "At least one --issue or --doc is required"),
        (StartRequest(docs=("",)), NotFound, "'' does not exist"),
        (StartRequest(issues=("1", "99")), NotFound, "acme/web#99"),
        (StartRequest(issues=("one",)), Invalid, "'one'"),
        (StartRequest(issues=("4",)), Invalid, "pull request"),
        (StartRequest(issues=("5", "6")), Invalid, "#5 -> #6 -> #5"),
        (StartRequest(issues=("1",), max_parallel=0), Invalid, "--max-parallel"),
        (StartRequest(issues=("1",), docs=("none.md",)), NotFound, "none.md does not exist"),
        (StartRequest(issues=("1",), manifest="none.toml"), NotFound, "none.toml does not exist"),
        (StartRequest(issues=("1",), manifest="bad.toml"), Invalid, "bad.toml"),
        (StartRequest(issues=("1",), manifest="other.toml"), Invalid, "'9' is not in the mission"),
    ],
    ids=[
        "nothing",
        "only a manifest",
        "no path",
        "unknown",
        "word",
        "pull",
        "circle",
        "parallel",
        "doc",
        "manifest",
        "toml",
        "override",
    ],
)
def test_an_error_leaves_nothing(
    here: Town, github: GitHub, request_: StartRequest, kind: type[Exception], words: str
) -> None:
    """Whatever is wrong is said before anything is stored."""
    three_issues(github)
    github.pull("acme/web", 4)
    github.issue("acme/web", 5, body="after #6")
    github.issue("acme/web", 6, body="requires #5")
    (here.root / "bad.toml").write_text("[[overrides]")
    (here.root / "other.toml").write_text("[[overrides]]\nissue = 9\nskip = true\n")
    before = snapshot(here)
    with pytest.raises(kind, match=words):
        starting.start(here, request_, PERSON)
    assert snapshot(here) == before == {}


@pytest.mark.parametrize("fault", ["fail", "drop", "garbage"])
def test_a_github_that_does_not_answer(here: Town, github: GitHub, fault: str) -> None:
    """Is an error in a line, and leaves nothing."""
    three_issues(github)
    {"fail": lambda: github.fail(500, times=None), "drop": lambda: github.drop(times=None),
     "garbage": lambda: github.garbage(times=None)}[fault]()  # fmt: skip
    with pytest.raises(Unavailable):
        starting.start(here, StartRequest(issues=("1",)), PERSON)
    assert snapshot(here) == {}


def test_documents_need_no_github(here: Town, github: GitHub, tmp_path: Path) -> None:
    """Named from the town's root when they lie below it; each part comes with the whole text."""
    (here.root / "docs").mkdir()
    text = "\ufeff# Plan\n\nKeep it small.\n\n- [ ] Write it\n- [x] Think\n- [ ] Test it\n"
    (here.root / "docs" / "plan.md").write_text(text)
    (tmp_path / "note.md").write_text("# One thing\n\nDo it.")
    os.chdir(here.root / "docs")

    done = starting.start(here, StartRequest(docs=("plan.md", "../../note.md")), PERSON)

    assert github.requests == []
    assert done.run.objectives == ["docs/plan.md", str(tmp_path / "note.md")]
    refs = [item.source_ref for item in done.items]
    assert refs == ["docs/plan.md#write-it", "docs/plan.md#test-it", str(tmp_path / "note.md")]
    assert "Keep it small." in done.items[0].body
    assert done.items[2].body == "# One thing\n\nDo it."
    assert done.run.repositories == ["acme/web"]


def test_a_long_document_is_not_carried_by_each_part(here: Town) -> None:
    """Then a line says where it is."""
    parts = "".join(f"- [ ] Part {n}\n" for n in range(100))
    (here.root / "long.md").write_text("x" * 50_000 + "\n\n" + parts)
    done = starting.prepare(here, StartRequest(docs=("long.md",)))
    assert len(done.items) == 100
    assert all(len(item.body) < 200 and "the document long.md" in item.body for item in done.items)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda path: path.write_bytes(b"x" * 1_000_001), Invalid, "more than 1,000,000 bytes"),
        (lambda path: path.write_bytes(b"ok \xff"), Invalid, "no text in UTF-8 .byte 3"),
        (lambda path: path.write_text(" \n"), Invalid, "is empty"),
        (lambda path: path.mkdir(), Invalid, "is no file"),
        (os.mkfifo, Invalid, "is no file"),
        (lambda path: path.symlink_to(path), Forbidden, "cannot be read"),
    ],
    ids=["long", "bytes", "empty", "folder", "pipe", "loop"],
)
def test_what_is_no_document(here: Town, make: Callable[[Path], Any], kind: type[Exception], words: str) -> None:
    """Too long, no text, no file: a line, at once, and nothing is left."""
    make(here.root / "doc.md")
    with pytest.raises(kind, match=words):
        starting.start(here, StartRequest(docs=("doc.md",)), PERSON)
    assert snapshot(here) == {}


def test_a_nul_in_a_path(here: Town) -> None:
    """Is no path."""
    with pytest.raises(Forbidden):
        starting.prepare(here, StartRequest(docs=("a\0b",)))


def test_settings_manifest_and_options(here: Town, github: GitHub) -> None:
    """`[mission]` gives the policy, over it the manifest, over that the options of the command."""
    three_issues(github)
    settings = MissionConfig(
        max_parallel_items=7, reviewer_required=False, auto_merge=True, watch_interval_secs=60, max_rounds=9,
        no_checks="wait",
    )  # fmt: skip
    town = Town(here.root, replace(here.config, mission=settings))
    policy = starting.prepare(town, StartRequest(issues=("1",))).run.policy
    assert policy == Policy(
        max_parallel_items=7, reviewer_required=False, auto_merge=True, watch_interval_secs=60, max_rounds=9,
        no_checks="wait",
    )  # fmt: skip
    (here.root / "m.toml").write_text(
        "[policy]\nmax_parallel = 3\nreviewer_required = true\nmax_rounds = 2\n"
        '[[overrides]]\nissue = 1\nowner_role = "architect"\npriority = 10\nverify = ["true"]\n'
    )
    done = starting.prepare(town, StartRequest(issues=("1",), manifest="m.toml"))
    assert (done.run.policy.max_parallel_items, done.run.policy.max_rounds) == (3, 2)
    assert done.run.policy.reviewer_required
    assert (done.items[0].owner_role, done.items[0].priority, done.items[0].verify) == ("architect", 10, ["true"])
    options = StartRequest(("1",), (), "m.toml", max_parallel=5, reviewer_required=False, auto_merge=False)
    policy = starting.prepare(town, options).run.policy
    assert (policy.max_parallel_items, policy.reviewer_required, policy.auto_merge) == (5, False, False)


def test_no_two_missions_work_on_the_same(here: Town, github: GitHub) -> None:
    """A mission that has not ended keeps its open items for itself, stopped or not; what is done may be done again."""
    three_issues(github)
    run = make_mission(objectives=["Acme/Web#1", "acme/web#2"], state=MissionState.BLOCKED, stopped_at="now")
    first, second = make_item(run, 1, source_ref="Acme/Web#1"), make_item(run, 2, status=WorkStatus.DONE)
    put_mission(here, run, first, second)
    starting.start(here, StartRequest(issues=("2",)), PERSON)
    refuses(
        here, lambda: starting.start(here, StartRequest(issues=("1", "3")), PERSON), Conflict,
        f"Mission {run.id[:8]} works on acme/web#1 already", "tt mission stop",
    )  # fmt: skip


def test_of_two_starts_at_once_one_wins(here: Town, github: GitHub) -> None:
    """Also when both looked before either had stored anything."""
    three_issues(github)
    root, config = here.root, here.config

    def work(number: int) -> str:
        try:
            starting.start(Town(root, config), StartRequest(issues=("1", str(number % 2 + 2))), PERSON)
        except Conflict as error:
            return str(error)
        return "done"

    told = in_processes(4, work)

    assert max(told) == "done"
    assert all("works on acme/web#1 already" in said for said in sorted(told)[:3])
    assert len(here.store.missions.all_ids()) == 1
    invariants.check(here, settled=False)


def test_who_would_get_what(here: Town, github: GitHub) -> None:
    """The first items at once, the others when their turn comes, and what nobody fits with the command that helps."""
    three_issues(github)
    (here.root / "m.toml").write_text('[[overrides]]\nissue = 3\nowner_role = "wizard"\n')
    register(here, "designer")
    register(here, "backend")
    prepared = starting.prepare(here, StartRequest(issues=("1", "2", "3"), manifest="m.toml"))
    before = snapshot(here)

    who = preview.assignment(here, prepared)

    assert who is not None
    assert [who[item.id] for item in prepared.items] == [
        "designer, at once", "backend, when its turn comes", "nobody fits: tt spawn wizard --role wizard",
    ]  # fmt: skip
    assert snapshot(here) == before
    assert [row["assignment"] for row in preview.shape(prepared, who)["work_items"]] == list(who.values())
