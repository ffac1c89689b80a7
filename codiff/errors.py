"""What a user, a file or a setting can cause: one error and one notice."""


class InputError(ValueError):
    """Says what was wrong, what was expected and how to mend it; command lines print it and exit with 2."""


class InputNotice(UserWarning):
    """Says how an input was adapted before use (rotated, flattened, cut, ...); the result still stands."""
