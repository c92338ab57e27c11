"""Runs the order service: `python -m order_service`, configured by its environment."""

from millrace.run import run
from millrace.settings import load
from order_service.bootstrap import parts
from order_service.config import Config
from shopkit.service import assemble


def main() -> None:
    """Run until SIGTERM or SIGINT; exit with code 2 if the settings are not usable."""
    config = load(Config.read)
    run(assemble(config.common, parts(config)))


if __name__ == "__main__":
    main()
