"""The store's errors, and which errors of loading a version may pass by themselves."""


class StoreError(RuntimeError):
    """The store cannot do what was requested; the message says what is wrong, where, and what to do."""


class NotFoundError(StoreError):
    """A version or a file of it does not exist."""


def transient(error: BaseException) -> bool:
    """Whether a version that could not be loaded may be loaded later, since a disk or network did not give its files.

    Files that were read and refused stay refused: a wrong hash or manifest, or a check that failed.

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
