"""Listeners of a broker that ask clients who they are. Handed to `devkit.kafka.KafkaBroker` by tests of TLS and SASL.

Controller, broker and devkit itself go on speaking plain text on 127.0.0.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devkit.certificates import Certificate

LISTENERS = ("SASL_SSL", "SSL")
_SETTINGS = """\
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={ca_file}
listener.name.ssl.ssl.client.auth=required
listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {users};
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSecurity:
    """Whom a broker lets in: by SASL_SSL `users` and their passwords (SCRAM-SHA-512 or PLAIN), by SSL whoever `ca_file` vouches for.

    `certificate` is the broker's own.
    """

    ca_file: Path
    certificate: Certificate
    users: Mapping[str, str]

    def settings(self, folder: Path) -> str:
        """Return the lines for server.properties; the broker's certificate and key go into one file in `folder`."""
        keystore = folder / "keystore.pem"
        keystore.touch(mode=0o600)
        keystore.write_text(self.certificate.key_file.read_text() + self.certificate.certificate_file.read_text())
        users = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        return _SETTINGS.format(keystore=keystore, ca_file=self.ca_file, users=users)

    def format_words(self) -> list[str]:
        """Return the words by which the storage tool makes SCRAM users."""
        return [
            word
            for name, password in self.users.items()
            for word in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
        ]
