"""What the store raises."""


class StoreError(RuntimeError):
    """What was asked of the store cannot be done; the message is one paragraph: what is wrong, where, what to do."""
