"""Read lists of whole numbers from MATLAB files (version 5), as some datasets publish their labels and splits."""

from pathlib import Path

import numpy as np

from medtransfer.errors import InputError
from medtransfer.records import in_one_line, require_file

REMEDY = "download the file again"


def read_numbers(path: Path, key: str) -> list[int]:
    """Return a variable as a flat list, in the order of its columns.

    Args:
        path: the file.
        key: name of the variable, a vector or matrix of whole numbers.

    Raises:
        InputError: there is no such file or variable, or it holds something else.
    """
    from scipy.io import loadmat

    require_file(path, "a MATLAB file", REMEDY)
    try:
        variables = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    except Exception as error:  # scipy raises nearly any exception for a damaged file
        raise InputError(f"expected a MATLAB file in {path}, but it cannot be read ({in_one_line(error)}); {REMEDY}") from None
    if key not in variables:
        raise InputError(f"expected the variable {key!r} in {path}, but it holds {', '.join(variables) or 'none'}; {REMEDY}")
    values = np.asarray(variables[key])
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all() or (values != np.round(values)).any():
        raise InputError(f"expected whole numbers in the variable {key!r} of {path}, but got {values.dtype}; {REMEDY}")
    return [int(value) for value in values.ravel(order="F")]
