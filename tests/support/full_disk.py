"""A disk that takes no more."""

import resource
from contextlib import contextmanager


@contextmanager
def no_file_above(size):
    """A disk that takes no more of a file, as where it is full; for all folders, temporary ones included."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
