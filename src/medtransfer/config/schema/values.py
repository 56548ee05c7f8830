"""Types of values, and what all sections of params.yaml have in common."""

import os
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic.fields import FieldInfo

from medtransfer.config.requirements import NAME


def _no_bool(value: Any) -> Any:
    """Refuse true and false, which pydantic would convert to the numbers 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _no_dot(value: str) -> str:
    """Refuse a name that DVC and dotted keys such as `prepare.targets.<name>.size` would take for two levels."""
    if "." in value:
        raise ValueError("must have no dot, which separates the levels of a key; write - or _ instead")
    return value


def _no_file(value: str) -> str:
    """Refuse an output folder that cannot be made, since it or one of its parents is a file, or its name is invalid."""
    existing = next((path for path in (Path(value), *Path(value).parents) if os.path.lexists(path)), Path())
    if not existing.is_dir():
        raise ValueError(f"must name a folder, but {existing} is none")
    try:
        os.lstat(value)
    except FileNotFoundError:
        pass
    except OSError as error:  # such as a name that is too long
        raise ValueError(f"must name a folder that can be made, but {error.strerror}") from None
    return value


def _read_size(value: Any) -> Any:
    """Read a number of images, or a share of them such as 0.05 or `5%`, as an int or a float; 100 % is None."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST):
        return value
    try:
        share = Decimal(value[:-1]) / 100 if isinstance(value, str) and value.endswith("%") else Decimal(repr(value))
    except ArithmeticError:
        share = Decimal(0)
    if isinstance(value, float | str) and 0 < float(share) <= 1:
        return None if share == 1 else float(share)
    raise ValueError("must be a number of images from 1 on, a share of them such as 0.05 or 5%, or null for all")


def _read_sides(value: Any) -> Any:
    """Read a single number as both sides of a square; that they are pixels is checked of both sides of a list alone."""
    sides = list(value) if isinstance(value, list | tuple) else [value]
    if len(sides) == 2:
        return sides
    if len(sides) == 1 and type(sides[0]) is int and 0 < sides[0] <= MOST_PIXELS:
        return sides * 2
    raise ValueError(
        f"must be a number of pixels from 1 to {MOST_PIXELS:,}, or a list of height and width such as [224, 192] "
        f"(got {value!r:.80})"
    )


MOST, MOST_PIXELS, MOST_PROCESSES = 2**31 - 1, 2**14, 2**10  # largest integer; longest side of a picture; most workers
MOST_MARGINS = 10_000  # in a search
Whole = Annotated[int, BeforeValidator(_no_bool), Field(le=MOST)]
Real = Annotated[float, BeforeValidator(_no_bool)]
Positive = Annotated[Whole, Field(gt=0)]
NonNegative = Annotated[Whole, Field(ge=0)]
Below = Annotated[Whole, Field(lt=0, ge=-MOST)]
Pixels = Annotated[Positive, Field(le=MOST_PIXELS)]
Sides = Annotated[tuple[Pixels, Pixels], BeforeValidator(_read_sides)]  # (height, width); a single number: both
AtLeastZero = Annotated[Real, Field(ge=0)]
Probability = Annotated[Real, Field(ge=0, le=1)]
BelowOne = Annotated[Real, Field(ge=0, lt=1)]
OpenShare = Annotated[Real, Field(gt=0, lt=1)]
Rate = Annotated[Real, Field(gt=0)]
Name = Annotated[str, Field(pattern=NAME, max_length=100)]
Defined = Annotated[Name, AfterValidator(_no_dot)]  # a name that params.yaml defines
Place = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
Out = Annotated[Place, AfterValidator(_no_file)]
Size = Annotated[int | float | None, BeforeValidator(_read_size)]  # images: a number, or a share of all; None: all
Folds = Annotated[Whole, Field(ge=2)]
Pooling = Literal["frozen", "always", "never"]


class Section(BaseModel):
    """A section of params.yaml: every key is required, no other key is allowed, and numbers are finite.

    The docstrings of the fields are the help of the command line's options and the comments in params.yaml.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, serialize_by_alias=True
    )

    @classmethod
    def by_key(cls) -> dict[str, FieldInfo]:
        """Return the fields by their keys in params.yaml, which differ from their names where those are words of Python."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}


def _one_or_map(value: Any) -> str:
    return "map" if isinstance(value, dict | BaseModel) else "one"


# One value or a map; with a discriminator, errors name the alternative that was written.
OneOrMap = Discriminator(_one_or_map)
EpochsByEncoder = Annotated[Annotated[NonNegative, Tag("one")] | Annotated[dict[Name, NonNegative], Tag("map")], OneOrMap]
ImagesByEncoder = Annotated[Annotated[Positive, Tag("one")] | Annotated[dict[Name, Positive], Tag("map")], OneOrMap]
Files = Annotated[dict[Positive, Place], Field(min_length=1)]
FilesByEpoch = Annotated[Annotated[Place, Tag("one")] | Annotated[Files, Tag("map")], OneOrMap]
