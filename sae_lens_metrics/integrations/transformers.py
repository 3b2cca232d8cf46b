"""What this package needs of transformers that changes between its versions."""

from typing import Any

import transformers
from packaging.version import Version

__all__ = ["dtype_argument"]


def dtype_argument(dtype: Any) -> dict[str, Any]:
    """The dtype as an argument of ``from_pretrained``."""
    return {"dtype" if Version(transformers.__version__) >= Version("4.56") else "torch_dtype": dtype}
