"""Where the broker is and how to log in."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote, unquote, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from broker.errors import BrokerSettingsError

DEFAULT_PORT = 1883
DEFAULT_TLS_PORT = 8883

Protocol = Literal["auto", "5", "3.1.1"]


class BrokerSettings(BaseModel):
    """Where the broker is and how to log in.

    Attributes:
        protocol: `auto` speaks MQTT 5 where the broker has it and 3.1.1 otherwise. Receiving costs
            twice the CPU time with 5 (paho's properties: 40,000 against 85,000 messages a
            second, measured), which matters in benchmarks only.
        ca_file: certificates to trust instead of the system's; only with `tls`.
        keepalive_s: a silent broker is given up after at most twice this time.
        connect_timeout_s: bound for one attempt to connect, and for each acknowledgement.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: Annotated[str, StringConstraints(min_length=1, max_length=253)] = "127.0.0.1"
    port: int = Field(default=DEFAULT_PORT, ge=1, le=65535)
    username: Annotated[str, StringConstraints(min_length=1)] | None = None
    password: SecretStr | None = None
    tls: bool = False
    ca_file: Path | None = None
    # YAML reads a bare 5 as a number
    protocol: Annotated[Protocol, BeforeValidator(lambda value: "5" if value == 5 else value)] = (
        "auto"
    )
    keepalive_s: int = Field(default=15, ge=1, le=3600)
    connect_timeout_s: float = Field(default=5.0, gt=0, le=60)

    @field_validator("host")
    @classmethod
    def _can_be_looked_up(cls, host: str) -> str:
        if any(character.isspace() or not character.isprintable() for character in host):
            msg = "a host name has no spaces or control characters"
            raise ValueError(msg)
        try:
            host.encode("idna")
        except UnicodeError as exc:
            msg = "a host name has parts of 1 to 63 valid characters with single dots between them"
            raise ValueError(msg) from exc
        return host

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.ca_file is not None and not self.tls:
            msg = "ca_file needs tls (mqtts://)"
            raise ValueError(msg)
        if self.password is not None and self.username is None:
            msg = "a password needs a username"
            raise ValueError(msg)
        return self

    @property
    def url(self) -> str:
        """The broker for messages and logs: never with the password."""
        scheme = "mqtts" if self.tls else "mqtt"
        user = f"{quote(self.username, safe='')}@" if self.username else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{user}{host}:{self.port}"

    @classmethod
    def parse_url(
        cls, text: str, *, ca_file: Path | None = None, protocol: Protocol = "auto"
    ) -> Self:
        """Return the settings in a URL, `mqtt[s]://user:password@host:port`, or in `host[:port]`.

        Raises:
            BrokerSettingsError: one sentence that says what is wrong, without the password.
        """
        try:
            parts = urlsplit(text if "://" in text else f"mqtt://{text}")
            host, port = parts.hostname, parts.port
        except ValueError as exc:
            # Not what Python says: after a "/" in a password it takes its beginning for a port.
            msg = (
                "broker URL has no readable host and port; write mqtt://host:port, "
                "and %2F for a / in a password"
            )
            raise BrokerSettingsError(msg) from exc
        if parts.scheme not in ("mqtt", "mqtts"):
            msg = f"broker URL begins with {parts.scheme[:20]!r}; write mqtt:// or mqtts://"
            raise BrokerSettingsError(msg)
        if not host or any(character.isspace() for character in host):
            msg = "broker URL names no host; write mqtt://host:port"
            raise BrokerSettingsError(msg)
        if parts.path.strip("/") or parts.query or parts.fragment:
            msg = "broker URL ends after the port; write mqtt://host:port"
            raise BrokerSettingsError(msg)
        tls = parts.scheme == "mqtts"
        return cls.checked(
            host=host,
            port=(DEFAULT_TLS_PORT if tls else DEFAULT_PORT) if port is None else port,
            username=unquote(parts.username) if parts.username else None,
            password=None if parts.password is None else unquote(parts.password),
            tls=tls,
            ca_file=ca_file,
            protocol=protocol,
        )

    @classmethod
    def checked(cls, **fields: object) -> Self:
        """Return the settings made of `fields`.

        Raises:
            BrokerSettingsError: one sentence that names the first wrong field.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            what = f"broker {where}: {first['msg']}" if where else f"broker: {first['msg']}"
            raise BrokerSettingsError(what.replace("Value error, ", "")) from exc
