"""The errors of the node agent.

NodeAgentError
├── SettingsError           the command line or the configuration file is wrong
├── PauseError              a pause is no duration, or cannot be kept
├── NameTakenError          another node of this name is at work
├── FetchError              a model that no pack here holds cannot be had
└── WorkerError             the worker process gave no answer
    ├── WorkerDiedError     it ended by itself or was killed
    ├── WorkerHungError     it had the processor and still said nothing
    ├── ModelRefusedError   it cannot serve this model: no retry will help
    └── BadFrameError       it cannot decode this picture, and is well
"""


class NodeAgentError(Exception):
    """Root of everything the node agent raises on purpose; its text is one sentence."""


class SettingsError(NodeAgentError):
    """The command line or the configuration file is wrong."""


class PauseError(NodeAgentError):
    """A pause is no duration, or cannot be kept on the disk."""


class NameTakenError(NodeAgentError):
    """Another node of this name is at work: this one must not be."""


class FetchError(NodeAgentError):
    """A model that no pack of this node holds cannot be had from the broker now.

    Attributes:
        again: whether another try may help.
    """

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


class WorkerError(NodeAgentError):
    """The worker process gave no answer."""


class WorkerDiedError(WorkerError):
    """The worker process ended by itself or was killed."""


class WorkerHungError(WorkerError):
    """The worker process had the processor and still said nothing."""


class ModelRefusedError(WorkerError):
    """The worker cannot serve this model, and trying again will not help."""


class BadFrameError(WorkerError):
    """The worker cannot decode this picture; it is well and takes the next one."""
