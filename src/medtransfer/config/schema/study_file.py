"""What a study file says beside the params: what the study asks, and what its plan cannot know before the data are there."""

from typing import Annotated, Literal

from pydantic import Field

from medtransfer.config.schema.values import Name, Positive, Rate, Section

Words = Annotated[str, Field(min_length=1, max_length=300)]


class Split(Section):
    """Images of a target whose validation images are published apart."""

    train: Positive
    """training images"""
    validation: Positive
    """validation images"""


class Printed(Section):
    """The printed tables that results are shown beside.

    `row` and `column` are templates with the fields {target}, {encoder}, {origin}, {mode} and {size}; `names` says how the paper
    writes the values of each. The origin of epoch 0 is `random`, the size of all images `all`.
    """

    paper: Name
    """paper of `medtransfer replay`, whose printed tables the package carries"""
    tables: Annotated[list[str], Field(min_length=1)]
    """tables that hold the numbers, the first that has one counts; {mode} as in the templates"""
    row: Words
    """row of a number"""
    column: Words
    """column of a number"""
    of: Literal["initialisation", "best"] = "initialisation"
    """whose numbers they are: each initialisation's, or the best one's of an encoder"""
    scale: Rate = 1.0
    """printed units per unit of ours: 100 for per cent"""
    names: dict[Name, dict[str, str | list[str]]] = {}
    """by field, what the paper writes for our value; several where its tables differ"""


class About(Section):
    """The section `about` of a study file."""

    what: Words
    """the question, in one sentence"""
    paper: Words | None = None
    """the paper that it repeats; null: none"""
    images: dict[Name, Positive | Split] = {}
    """training images of targets and sources as published, for the plan without the data; validation images among them, or apart"""
    parameters: dict[Name, Positive] = {}
    """weights of each encoder, for the disk that the plan counts"""
    models: dict[Name, Positive] = {}
    """weights of a whole model on each encoder, where its head is more than a layer; otherwise those of the encoder count"""
    printed: Printed | None = None
    """printed tables; null: none"""
