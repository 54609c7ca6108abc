"""Wanted against running."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK, make_wish
from tinytown.domain.agent import Wish
from tinytown.supervisor.reconcile import reconcile

WISHES = st.builds(
    make_wish,
    host=st.sampled_from([None, "here", "there"]),
    stop=st.sampled_from([None, "graceful", "now"]),
    foreground=st.booleans(),
    pause=st.booleans(),
)
IDS = st.sampled_from("abcdefgh")


def test_each_way() -> None:
    """Wanted: started. Wished to stop or in a terminal without a child: finished, looked at. Not wanted: ended."""
    wanted = {
        "new": make_wish(host="here"),
        "anywhere": make_wish(host=None),
        "runs": make_wish(host="here"),
        "stopping": make_wish(host="here", stop="graceful"),
        "stopped": make_wish(host="here", stop="now", foreground=True),
        "terminal": make_wish(host="here", foreground=True),
        "foreign": make_wish(host="there"),
        "paused": make_wish(host="here", pause=True),
    }

    plan = reconcile(wanted, ["runs", "stopping", "unwanted"], "here")

    assert plan.start == ["new", "anywhere", "paused"]
    assert plan.finish == ["stopped"]
    assert plan.look_at == ["terminal"]
    assert plan.end == ["unwanted"]


def test_nothing_wanted_nothing_running() -> None:
    """An idle town has nothing to do."""
    plan = reconcile({}, [], "here")

    assert (plan.start, plan.end, plan.finish, plan.look_at) == ([], [], [], [])


@QUICK
@given(st.dictionaries(IDS, WISHES), st.sets(IDS))
def test_a_plan_touches_each_agent_once(wanted: dict[str, Wish], children: set[str]) -> None:
    """Nobody else's agents, none twice, and what is started has no child yet; done, the next plan starts nothing."""
    plan = reconcile(wanted, children, "here")
    all_ = [*plan.start, *plan.end, *plan.finish, *plan.look_at]

    assert len(all_) == len(set(all_))
    assert set(plan.end) == children - wanted.keys()
    for agent_id in (*plan.start, *plan.finish, *plan.look_at):
        assert agent_id not in children
        assert wanted[agent_id].host in {None, "here"}
    assert all(not wanted[i].stop and not wanted[i].foreground for i in plan.start)
    again = reconcile(wanted, (children | set(plan.start)) - set(plan.end), "here")
    assert (again.start, again.end) == ([], [])
