"""The one error that the local cloud shows to people."""


class LocalCloudError(RuntimeError):
    """The local cloud cannot do what was asked; the message says why and what to do."""
