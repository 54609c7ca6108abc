// What a person can do, each said once: its words, its question, its request, and how its outcome is told.

import { request, path } from "/page/api.js";
import { label, plural, short } from "/page/words.js";

const agent = (target) => `agent '${target.agent}'`;
const task = (target) => `task ${short(target.task_id)}`;
const item = (target) => target.name ?? `item ${short(target.item_id)}`;
const steered = (done) => {
  if (done.ended) return `Agent '${done.agent}' has ended.`;
  if (!done.changed) return `Agent '${done.agent}': it had been asked for that before.`;
  return `Agent '${done.agent}' is ${label(done.state)}${done.in_round ? "; its round goes on to its end" : ""}.`;
};
const now = { name: "now", label: "At once: the round in progress ends, its work goes back" };

export const ACTIONS = {
  "message.send": {
    label: "Message", title: (t) => `Message to ${agent(t)}`, field: { name: "message", label: "Message", required: true },
    choice: { name: "urgent", label: "Urgent: read before all else" }, confirm: "Send",
    run: (t, given) => request("POST", "/v1/messages/send", { to: t.agent, message: given.message, urgent: given.urgent }),
    done: (answer) => `The message is in the mailbox of '${answer.to_agent}'.`,
  },
  "task.assign": {
    label: "Give a task", title: (t) => `A task for ${agent(t)}`, field: { name: "task", label: "Task", required: true }, confirm: "Assign",
    run: (t, given) => request("POST", "/v1/tasks/assign", { agent: t.agent, task: given.task }),
    done: (answer) => `Task ${short(answer.task_id)} is given to '${answer.agent_name}'.`,
  },
  "agent.interrupt": {
    label: "Interrupt", title: (t) => `Interrupt ${agent(t)}?`, text: "It pauses after its round; its mail waits until it is resumed.", choice: now, confirm: "Interrupt",
    run: (t, given) => request("POST", path`/v1/agents/${t.agent}/interrupt`, { now: given.now }), done: steered,
  },
  "agent.resume": {
    label: "Resume", run: (t) => request("POST", path`/v1/agents/${t.agent}/resume`), done: steered,
  },
  "agent.kill": {
    label: "Stop", danger: true, title: (t) => `Stop ${agent(t)}?`, text: "It stops after its round. Its mail and tasks stay with it until it is restarted.", choice: now, confirm: "Stop",
    run: (t, given) => request("POST", path`/v1/agents/${t.agent}/kill`, { now: given.now }),
    done: (answer) => `Agent '${answer.agent}' is ${answer.status}.`,
  },
  "agent.restart": {
    label: "Restart", run: (t) => request("POST", path`/v1/agents/${t.agent}/restart`, {}),
    done: (answer) => `Agent '${answer.name}' is started again.`,
  },
  "task.retry": {
    label: "Retry", run: (t) => request("POST", path`/v1/tasks/${t.task_id}/retry`, {}),
    done: (answer) => `Task ${short(answer.id)} is ${label(answer.state)}${answer.agent ? ` to '${answer.agent}'` : ""} again.`,
  },
  "task.cancel": {
    label: "Cancel task", danger: true, title: (t) => `Cancel ${task(t)}?`, text: "Nobody works on it any more; a run of it ends.",
    field: { name: "reason", label: "Reason (may be empty)" }, confirm: "Cancel the task",
    run: (t, given) => request("POST", path`/v1/tasks/${t.task_id}/cancel`, { reason: given.reason || null }),
    done: (answer) => `Task ${short(answer.id)} is ${label(answer.state)}.`,
  },
  "backlog.claim": {
    label: "Give to an agent", title: (t) => `Who gets ${task(t)}?`, field: { name: "agent", label: "Agent's name", required: true, line: true }, confirm: "Assign",
    run: (t, given) => request("POST", path`/v1/backlog/${t.task_id}/claim`, { agent: given.agent }),
    done: (answer) => `Task ${short(answer.task_id)} is given to '${answer.agent_name}'.`,
  },
  "mission.approve": {
    label: "Approve", title: (t) => `Approve ${item(t)}?`, field: { name: "reason", label: "Remark (may be empty)" }, confirm: "Approve",
    run: (t, given) => request("POST", path`/v1/missions/${t.mission_id}/work/${t.item_id}/approve`, { reason: given.reason }),
    done: (answer) => `${answer.source_ref} is approved: ${label(answer.status)}.`,
  },
  "mission.reject": {
    label: "Reject", danger: true, title: (t) => `Reject ${item(t)}?`, text: "It goes back to its author with what you write.",
    field: { name: "reason", label: "What must change", required: true }, confirm: "Reject",
    run: (t, given) => request("POST", path`/v1/missions/${t.mission_id}/work/${t.item_id}/reject`, { reason: given.reason }),
    done: (answer) => `${answer.source_ref} goes back to its author.`,
  },
  "mission.retry": {
    label: "Try again", run: (t) => request("POST", path`/v1/missions/${t.mission_id}/work/${t.item_id}/retry`),
    done: (answer) => `${answer.source_ref} goes on: ${label(answer.status)}.`,
  },
  "mission.cancel": {
    label: "Cancel item", danger: true, title: (t) => `Cancel ${item(t)}?`, text: "It is taken out of its mission; a run of it ends.",
    field: { name: "reason", label: "Reason (may be empty)" }, confirm: "Cancel the item",
    run: (t, given) => request("POST", path`/v1/missions/${t.mission_id}/work/${t.item_id}/cancel`, { reason: given.reason }),
    done: (answer) => `${answer.source_ref} is ${label(answer.status)}.`,
  },
  "mission.note": {
    label: "Note", title: (t) => `A note in mission ${short(t.mission_id)}`, field: { name: "message", label: "Note", required: true }, confirm: "Leave it",
    run: (t, given) => request("POST", path`/v1/missions/${t.mission_id}/note`, { message: given.message }),
    done: (answer) => `The note is in the log of mission ${short(answer.id)}.`,
  },
  "mission.stop": {
    label: "Stop mission", danger: true, title: (t) => `Stop mission ${short(t.mission_id)}?`, text: "Nothing new begins, running rounds end by themselves. It can be resumed.", confirm: "Stop the mission",
    run: (t) => request("POST", path`/v1/missions/${t.mission_id}/stop`, {}),
    done: (answer) => `Mission ${short(answer.id)} is stopped; ${plural(answer.taken_back, "task")} taken back.`,
  },
  "mission.resume": {
    label: "Resume mission", run: (t) => request("POST", path`/v1/missions/${t.mission_id}/resume`),
    done: (answer) => `Mission ${short(answer.id)} goes on: ${label(answer.state)}.`,
  },
  "message.retry_dead": {
    label: "Put it back", run: (t) => request("POST", path`/v1/messages/dead/${t.letter_id}/retry`, { agent: t.agent }),
    done: (answer) => `It is in the mailbox of '${answer.to_agent}' again.`,
  },
  "message.drop_dead": {
    label: "Delete", danger: true, title: () => "Delete this dead letter?", text: "It is deleted for good.", confirm: "Delete it",
    run: (t) => request("DELETE", path`/v1/messages/dead/${t.letter_id}` + `?agent=${encodeURIComponent(t.agent)}`),
    done: () => "The dead letter is deleted.",
  },
  "message.acknowledge": {
    label: "Take out what is shown", danger: true, confirm: "Take out",
    title: (t) => `Take ${t.message_ids.length === 1 ? "this message" : `these ${plural(t.message_ids.length, "message")}`} out of your mailbox?`,
    text: "What was said is gone then. Mail that came since stays.",
    run: (t) => request("POST", "/v1/messages/acknowledge", { message_ids: t.message_ids }),
    done: (answer) => `${plural(answer.acknowledged, "message")} taken out.${answer.left ? ` ${plural(answer.left, "message")} ${answer.left === 1 ? "is" : "are"} left.` : ""}`,
  },
};

// What can be done about these, as they are now.
export function ofAgent(row) {
  const isPaused = row.state === "paused" || row.pausing;
  if (!row.wanted) return ["agent.restart", "message.send"];
  return ["message.send", "task.assign", isPaused ? "agent.resume" : "agent.interrupt", "agent.kill"];
}

export function ofTask(row) {
  if (row.state === "failed" || row.state === "cancelled") return row.mission_id ? [] : ["task.retry"];
  if (row.state === "completed") return [];
  return row.state === "pending" && !row.mission_id && !row.agent ? ["backlog.claim", "task.cancel"] : ["task.cancel"];
}

export function ofItem(row) {
  if (row.status === "done") return [];
  if (row.status === "cancelled") return ["mission.retry"];
  const verdicts = row.status === "blocked" ? ["mission.approve", "mission.reject"] : [];
  return [...verdicts, ...(row.needs_person ? ["mission.retry"] : []), "mission.cancel"];
}

export const ofMission = (row) =>
  ["done", "completed", "failed", "cancelled", "ended"].includes(row.state) || row.ended_at ? [] : [row.stopped ? "mission.resume" : "mission.stop", "mission.note"];
