"""The `millrace` command. Other packages add commands to it as entry points; see `millrace.cli.app`.

`dlt` and `rebuild` are the library's own commands; `running` runs a command's coroutine, `failures` and `one_line` say what went wrong in one
line, `output` prints tables and JSON. Services never import this package.
"""

import logging

from millrace.cli.app import load_app


def main() -> None:
    """Run the command line this process was started with, and exit with its code. What the library logs is said in the errors."""
    logging.getLogger("millrace").addHandler(logging.NullHandler())
    load_app()(prog_name="millrace")
