"""Errors of the gateway package, one for each situation a caller can meet.

GatewayError
├── SettingsError          the settings file cannot be used
├── DemoError              a part of the demo did not start or ended by itself
├── StateFileError         what a command has set cannot be kept on the disk
├── PictureError           bytes that are no usable picture: count them and drop them
└── SourceError            a camera's source gives no pictures
    ├── SourceOpenError    it cannot be opened, or holds nothing that can be read
    └── SourceLostError    it was open and broke off

Every message is one sentence fit for a person: what is wrong, where, and what to do.
"""


class GatewayError(Exception):
    """Root of everything that the gateway raises on purpose."""


class SettingsError(GatewayError):
    """The settings file cannot be used."""


class DemoError(GatewayError):
    """A part of the demo did not start or ended by itself."""


class StateFileError(GatewayError):
    """What a command has set cannot be kept on the disk."""


class PictureError(GatewayError):
    """Bytes that are no usable picture; count them and drop them."""


class SourceError(GatewayError):
    """A camera's source gives no pictures."""


class SourceOpenError(SourceError):
    """The source cannot be opened, or holds nothing that can be read."""


class SourceLostError(SourceError):
    """The source was open and broke off."""
