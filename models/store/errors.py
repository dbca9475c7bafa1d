"""What the store raises, and which of what goes wrong as a version is loaded may pass."""


class StoreError(RuntimeError):
    """What was asked of the store cannot be done; the message is one paragraph: what is wrong, where, what to do."""


class NotFoundError(StoreError):
    """A version or a file of it is not there."""


def transient(error: BaseException) -> bool:
    """Whether a version that could not be loaded may be loaded later: a disk or a network did not give its files.

    Files that were read and refused stay refused: a hash or a manifest that does not fit, a check that failed.

    Examples
    --------
    >>> transient(PermissionError()), transient(NotFoundError("no manifest")), transient(StoreError("another hash"))
    (True, True, False)
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError | NotFoundError):
            return True
        cause = cause.__cause__
    # What else a loader says of the contents; what an object store's client raises is none of these.
    return not isinstance(error, RuntimeError | ValueError | TypeError | LookupError)
