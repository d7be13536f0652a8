"""Try one method, or all of them and keep the best."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from deepseek.errors import DeepseekError, GateError
from deepseek.quantization.search.finding import Finding
from deepseek.quantization.search.session import Session

__all__ = ["try_methods"]

_Found = TypeVar("_Found", bound=Finding)


def try_methods(
    methods: Iterable[str], attempt: Callable[[str], _Found], session: Session
) -> tuple[_Found, ...]:
    """Try methods while there is time, the first in any case.

    Args:
        methods: Their names.
        attempt: Tries one.
        session: Of the search, which is over where no method comes to anything.

    Returns:
        What they came to, at least one.

    Raises:
        InputError: No method can quantize the model.
        GateError: None makes a layer faster, and size alone was not asked for.
    """
    attempts: list[_Found] = []
    errors: list[DeepseekError] = []
    for method in methods:
        if attempts and session.clock.over():
            break
        try:
            attempts.append(attempt(method))
        except DeepseekError as error:
            errors.append(error)
    if not attempts:
        session.state.remove()
        # Input that no method takes is one thing, layers that are slower another.
        raise next((e for e in errors if not isinstance(e, GateError)), errors[0])
    return tuple(attempts)
