"""The `millrace` command. Other packages add commands to it as entry points; see `millrace.cli.app`.

`running` runs a command's coroutine, `failures` says what went wrong in one line, `output` prints tables and JSON. Services never
import this package.
"""

from millrace.cli.app import load_app


def main() -> None:
    """Run the command line this process was started with, and exit with its code."""
    load_app()(prog_name="millrace")
