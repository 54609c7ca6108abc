"""A model CLI of one's own: any command that reads a prompt from stdin and prints a result."""

from __future__ import annotations

from here import PATIENCE_S, dismiss, open_town, result

from tinytown import AgentModel, Task


def main() -> None:
    """Run it in a scratch folder."""
    town, _cli = open_town()
    with town:
        model = AgentModel("word-counter", "wc -w").with_env("LC_ALL", "C")
        counter = town.spawn_agent("counter", model)  # writes [agent_clis.word-counter] into tinytown.toml
        task_id = counter.assign(Task("How long is this prompt?"))
        counter.wait(PATIENCE_S)
        print(f"Words in the prompt: {result(town, task_id)}")
        dismiss(counter)


if __name__ == "__main__":
    main()
