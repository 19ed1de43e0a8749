"""The base class of every section of the configuration, and partial sections for overrides."""

import types
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

Auto = Literal["auto"]
"""A number that the machine decides on which the stage runs."""
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Immutable, keyword-only settings; unknown keys are refused by name."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    @model_validator(mode="before")
    @classmethod
    def _unknown_keys_get_a_hint(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                close = get_close_matches(str(key), cls.model_fields, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(cls.model_fields)}"
                raise ValueError(f"unknown setting {key!r}: {hint}")
        return values


def _suit_the_form(schema: dict[str, Any]) -> None:
    """Makes Prefect's form for a schema send only what a user entered.

    It sends `false` for an untouched switch and the first member of an untouched union, unless their default is null.
    """
    for field in schema.get("properties", {}).values():
        if field.get("type") == "boolean":
            field["anyOf"] = [{"type": field.pop("type")}]
        if "anyOf" in field and {"type": "null"} not in field["anyOf"]:
            field["anyOf"].append({"type": "null"})
            field["default"] = None


class _Overrides(Section):
    """A section of which any part may be left out or null."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, values: Any) -> Any:
        return {k: v for k, v in values.items() if v is not None} if isinstance(values, dict) else values

    model_config = ConfigDict(
        validate_default=False,
        json_schema_extra=_suit_the_form,
        use_attribute_docstrings=False,  # descriptions are handed over; to look for them takes half a second
    )


def _unset() -> None:
    """Value of a field that keeps what the profile says."""


@cache
def overrides_of(section: type[Section], *, without: tuple[str, ...] = ()) -> type[Section]:
    """Returns a section with the same fields and limits, all optional: left out or null keeps the profile's value.

    Nested sections become partial too, and the members of unions (a data source, an Oracle), which keep their
    `kind`; lists are given whole.
    """
    fields: dict[str, Any] = {}
    for name, info in section.model_fields.items():
        if name in without:
            continue
        if name == "kind":
            fields[name] = (info.annotation, info)
            continue
        kind = _partial(info.annotation)
        if info.metadata:
            kind = Annotated[(kind, *info.metadata)]
        # A factory leaves no default in the schema, so that a form shows a plain empty field.
        fields[name] = (kind, Field(default_factory=_unset, description=info.description))
    model: type[Section] = create_model(f"{section.__name__}Overrides", __base__=_Overrides, **fields)
    model.__doc__ = section.__doc__
    return model


def given(overrides: Section | None) -> dict[str, Any]:
    """What the user gave in overrides, as nested values to lay over a profile.

    A section without a value is left out: a form sends it untouched, and an optional one would be switched on by it.
    """
    if overrides is None:
        return {}
    return _without_empty(overrides.model_dump(mode="json", exclude_unset=True, exclude_none=True), overrides)


def _without_empty(values: dict[str, Any], section: Section) -> dict[str, Any]:
    kept = {}
    for name, value in values.items():
        inner = getattr(section, name)
        if isinstance(inner, Section):
            value = _without_empty(value, inner)  # noqa: PLW2901
            if not value:
                continue
        kept[name] = value
    return kept


def _partial(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return overrides_of(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        members = get_args(annotation)
        if any(isinstance(member, type) and issubclass(member, Section) for member in members):
            return Union[tuple(_partial(member) for member in members if member is not types.NoneType)]  # noqa: UP007
    return annotation
