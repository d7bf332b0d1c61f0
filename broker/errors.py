"""Everything that can go wrong on the wire, one name for each situation.

BrokerError
├── InvalidIdError           an id that no topic may carry (also a ValueError)
├── TopicError               a topic that is not one of ours
├── PayloadError             bytes or JSON that are not what their topic promises
├── BrokerSettingsError      settings or a URL that cannot be used (also a ValueError)
├── NotConnectedError        there is no link to the broker now
├── BrokerUnreachableError   the broker does not answer, or hung up
├── AuthenticationError      the broker refuses the login
└── BrokerStartError         a local broker does not start
"""


class BrokerError(Exception):
    """Root of the errors this package raises."""


class InvalidIdError(BrokerError, ValueError):
    """An id has a character or a length that no topic may carry."""


class TopicError(BrokerError):
    """A topic is foreign: another prefix, another gateway or an unknown shape."""


class PayloadError(BrokerError):
    """A payload is not what its topic promises; count it and drop it.

    Attributes:
        reason: one sentence without the payload's content.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BrokerSettingsError(BrokerError, ValueError):
    """Broker settings or a broker URL cannot be used as given."""


class NotConnectedError(BrokerError):
    """There is no link to the broker now, or it went away before the message was through."""


class BrokerUnreachableError(BrokerError):
    """The broker does not answer, or closed the connection.

    Attributes:
        url: the broker, without a password.
        reason: a few words of why.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"broker {url} cannot be reached: {reason}")
        self.url = url
        self.reason = reason


class AuthenticationError(BrokerError):
    """The broker refuses the login.

    Attributes:
        url: the broker, without a password.
        reason: the broker's own word for it.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"broker {url} refuses the login ({reason}): check user name and password")
        self.url = url
        self.reason = reason


class BrokerStartError(BrokerError):
    """A local broker does not start; the message says what to do."""
