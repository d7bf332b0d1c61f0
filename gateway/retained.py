"""What the broker should hold for us, and what of it has been published so far."""


class Retained:
    """Retained messages as a wish and its fulfilment, so that any loss can be made good.

    Whoever publishes asks `pending` and reports with `sent`; a topic's payload is looked up with
    `wanted` at the moment of publishing, so that an older one never follows a newer one.
    """

    def __init__(self) -> None:
        self._wanted: dict[str, bytes] = {}
        self._sent: dict[str, bytes] = {}

    def want(self, topic: str, payload: bytes) -> None:
        """Ask for a payload to stand on a topic, instead of what was asked for before."""
        self._wanted[topic] = payload

    def forget(self, topic: str) -> None:
        """Ask for nothing any more; what stands there stays."""
        self._wanted.pop(topic, None)
        self._sent.pop(topic, None)

    def wanted(self, topic: str) -> bytes:
        """Return what is to stand on a topic.

        Raises:
            KeyError: nothing was asked for.
        """
        return self._wanted[topic]

    def __contains__(self, topic: str) -> bool:
        return topic in self._wanted

    def pending(self) -> list[str]:
        """Return the topics that are not as wanted, in the order they were first asked for."""
        return [topic for topic, want in self._wanted.items() if self._sent.get(topic) != want]

    def sent(self, topic: str, payload: bytes) -> None:
        """Note that the broker has taken a payload."""
        if topic in self._wanted:  # else it was forgotten meanwhile, and will be cleared
            self._sent[topic] = payload

    def doubt(self, topic: str) -> None:
        """Note that the broker may not have what was published there."""
        self._sent.pop(topic, None)

    def doubt_all(self) -> None:
        """Note that the other side may have lost everything."""
        self._sent.clear()
