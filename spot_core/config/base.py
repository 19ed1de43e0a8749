"""The base class of every section of the configuration, and partial sections for overrides."""

import types
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model


class Section(BaseModel):
    """Immutable, keyword-only settings; unknown keys are refused by name."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


@cache
def overrides_of(section: type[Section]) -> type[Section]:
    """Returns a section with the same fields and limits, all optional: what is left out keeps its value.

    Nested sections become partial too; unions (a data source, an Oracle) and lists are given whole.
    """
    fields: dict[str, Any] = {}
    for name, info in section.model_fields.items():
        kind = _partial(info.annotation)
        if info.metadata:
            kind = Annotated[(kind, *info.metadata)]
        fields[name] = (kind | None, Field(default=None, description=info.description))
    model: type[Section] = create_model(f"{section.__name__}Overrides", __base__=Section, **fields)
    model.__doc__ = section.__doc__
    return model


def _partial(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return overrides_of(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        sections = [a for a in get_args(annotation) if isinstance(a, type) and issubclass(a, Section)]
        others = [a for a in get_args(annotation) if a is not types.NoneType and a not in sections]
        if len(sections) == 1 and not others:  # Section | None
            return overrides_of(sections[0])
    return annotation
