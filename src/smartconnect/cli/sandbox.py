"""`sandbox up|down`: two Kafka clusters and an S3 server that stay, to try things with."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer

from smartconnect.cli.options import JsonOption
from smartconnect.sandbox.stack import Sandbox, SandboxState

KeepOption = Annotated[bool, typer.Option("--keep-data", help="Leave the data folders behind.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    sandbox = typer.Typer(help="Two real Kafka clusters and a real S3 server on this machine.", no_args_is_help=True)
    app.add_typer(sandbox, name="sandbox")

    @sandbox.command("up")
    def up(as_json: JsonOption = False) -> None:
        """Start two Kafka clusters and an S3 server that stay until `sandbox down`; what runs already is left as it is."""
        state = asyncio.run(Sandbox().up())
        print(json.dumps(asdict(state)) if as_json else _told(state))

    @sandbox.command("down")
    def down(keep_data: KeepOption = False, as_json: JsonOption = False) -> None:
        """Stop what `sandbox up` started."""
        state = asyncio.run(Sandbox().down(keep_data=keep_data))
        names = [] if state is None else [server.name for server in state.servers]
        print(json.dumps({"stopped": names}) if as_json else f"stopped: {', '.join(names)}" if names else "nothing was up")


def _told(state: SandboxState) -> str:
    """What a settings file needs, ready to be copied."""
    servers = "\n".join(f"#   {server.name}: process {server.process.pid}, log {server.log_file}" for server in state.servers)
    return f"""# The sandbox is up; `smart-connect sandbox down` stops it.
{servers}
#   buckets are folders of {state.s3_buckets}
#   access key {state.s3_access_key}, secret key {state.s3_secret_key}

[[instances]]
id = "b54c9dd8-0000-0000-0000-000000000001"
project_id = "0123456789abcdef0123456789abcdef"
name = "sandbox"
bootstrap_servers = "{state.bootstrap_servers}"

[[instances]]
id = "b54c9dd8-0000-0000-0000-000000000002"
project_id = "0123456789abcdef0123456789abcdef"
name = "peer"
bootstrap_servers = "{state.peer_bootstrap_servers}"

[obs]
endpoint = "{state.s3_endpoint}"
region = "{state.s3_region}\""""
