"""Runs the notification service: `python -m notification_service`."""

from millrace.run import run
from millrace.settings import load
from notification_service.bootstrap import mailer_of, parts
from notification_service.config import read_config
from shopkit.service import assemble


def main() -> None:
    """Read the settings and run until SIGTERM."""
    config = load(read_config)
    run(assemble(config.common, parts(mailer_of(config.smtp), config.contacts)))


if __name__ == "__main__":
    main()
