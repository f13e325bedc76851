"""The checker of annotations for `shapes_run`."""

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

NUMBERS = BeartypeConf(is_pep484_tower=True)  # a whole number is a float, as type checkers have it


def checked(function):
    """Return the function with its annotations checked; as it is if it returns Self, which is no shape."""
    try:
        return beartype(function, conf=NUMBERS)
    except BeartypeDecorHintPep673Exception:
        return function
