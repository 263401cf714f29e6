"""The one error that the local cloud shows to people."""


class LocalCloudError(RuntimeError):
    """The local cloud cannot do this; the message has the reason and the cure."""
