"""The stack's one error."""


class StackError(RuntimeError):
    """Something the stack needs is missing or in the way; the message is for a person and says what to do."""
