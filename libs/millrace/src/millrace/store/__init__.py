"""Where a service keeps everything it must not lose, in one database, so that one transaction covers it all."""
