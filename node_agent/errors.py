"""The errors of the node agent.

NodeAgentError
├── SettingsError           the command line or the configuration file is wrong
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
