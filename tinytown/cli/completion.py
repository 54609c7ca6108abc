"""`tt completion`."""

from __future__ import annotations

import click

from tinytown.cli import base, render


@base.command(
    examples='eval "$(tt completion bash)"           # in ~/.bashrc\n'
    'eval "$(tt completion zsh)"            # in ~/.zshrc\n'
    "tt completion fish > ~/.config/fish/completions/tt.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415  this command alone

    found = get_completion_class(shell)
    assert found is not None
    script = found(ctx.find_root().command, {}, "tt", "_TT_COMPLETE")
    render.out(script.source_template % script.source_vars())
