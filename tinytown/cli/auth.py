"""`tt auth gen-key`, also under its former name `tt generate-api-key`."""

from __future__ import annotations

import click

from tinytown.cli import base, render


@base.group(examples="tt auth gen-key\ntt auth gen-key --json")
def auth() -> None:
    """Make API keys for the town hall."""


@auth.command("gen-key", cls=base.Command, examples="tt auth gen-key\ntt auth gen-key --json")
@base.json_option()
@click.pass_context
def gen_key(ctx: click.Context, *, as_json: bool) -> None:
    """Make an API key and its hash. The key is shown this once and stored nowhere."""
    from tinytown.services import api_keys  # noqa: PLC0415  not for --help

    port = _rest_port(ctx.meta.get(base.TOWN))
    made = api_keys.generate()
    if as_json:
        render.print_json({"api_key": made.key, "api_key_hash": made.hash})
        return
    render.out(f"{render.icon('🔑')}Generated new API key\n")
    render.out(f"API Key (store securely, shown only once):\n{made.key}\n")
    render.out(f"API Key Hash (add to tinytown.toml):\n{made.hash}\n")
    render.out("Add to your tinytown.toml:\n")
    render.out(f'  [townhall.auth]\n  mode = "api_key"\n  api_key_hash = "{made.hash}"\n')
    render.out("Then use the API key with townhall:")
    render.out(f"  curl -H 'Authorization: Bearer {made.key[:10]}...' http://localhost:{port}/v1/status")


def _rest_port(given: str | None) -> int:
    """The configured one; a key can be made outside of a town, and in one whose settings are broken."""
    from tinytown import config, config_townhall  # noqa: PLC0415  not for --help
    from tinytown.errors import ConfigInvalid  # noqa: PLC0415  as above
    from tinytown.services.settings import root_here  # noqa: PLC0415  as above

    root = root_here(given)
    try:
        townhall = config.load(root).townhall if root else {}
    except ConfigInvalid:
        townhall = {}
    return config_townhall.check(townhall, config.global_file()).rest_port
