"""The type of symbolic tensors in annotations."""

from typing import Any

#: PyTensor's own annotations do not say what arithmetic on its variables returns.
type Tensor = Any
