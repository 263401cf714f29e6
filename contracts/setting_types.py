"""One setting: its default, its check, its unit, its meaning, and the cure for a wrong value.

All of it is one field of `contracts/settings_sections.py`. From it come the errors about wrong values, the
defaults of `cdk.json` and the tables of `docs/settings.md`.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo


def setting(
    default: Any, *, meaning: str, cure: str = "Give true or false", unit: str = "", **checks: Any
) -> Any:
    """Declare a setting.

    Args:
        default: the value if none is given.
        meaning: what it means, in Markdown.
        cure: what to do about a wrong value, as a sentence without its full stop; by default for a switch.
        unit: of a number.
        checks: pydantic's own, such as `ge=1` or `pattern=…`.
    """
    return Field(
        default=default, description=meaning, json_schema_extra={"cure": cure, "unit": unit}, **checks
    )


class SettingsSection(BaseModel):
    """Settings that belong together; the docstring is the heading of their table."""

    # Functions only inherit from sections, so a section's own validators are built on first use.
    model_config = ConfigDict(frozen=True, allow_inf_nan=False, defer_build=True)


@dataclass(frozen=True)
class SettingText:
    """What people read about a setting."""

    meaning: str
    cure: str
    unit: str


def text_of(field: FieldInfo) -> SettingText:
    """Return what people read about a setting that was declared with `setting`."""
    extra = field.json_schema_extra
    assert isinstance(extra, dict)  # noqa: S101 - for the type checker
    return SettingText(field.description or "", str(extra["cure"]), str(extra["unit"]))


def _split_names(value: object) -> object:
    """Split the form of the command line, `a,b`."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _split_prices(value: object) -> object:
    """Split the form of the command line, `ml.g6.xlarge=1.13,ml.g5.xlarge=1.41`."""
    if not isinstance(value, str):
        return value
    pairs = (part.partition("=") for part in value.split(",") if part.strip())
    return {instance.strip(): usd.strip() for instance, _, usd in pairs}


Names = Annotated[tuple[str, ...], BeforeValidator(_split_names)]
InstancePrices = Annotated[dict[str, Annotated[float, Field(gt=0, le=1000)]], BeforeValidator(_split_prices)]
Email = Annotated[str, Field(pattern=r"^$|^[^@\s<>\"']+@[^@\s<>\"']+\.[^@\s<>\"'.]+$", max_length=128)]
LocalUrl = Annotated[str, Field(pattern=r"^$|^https?://[A-Za-z0-9.-]+(:\d{1,5})?$")]
AmiName = Annotated[str, Field(pattern=r"^[a-z0-9-]{0,63}$")]
QuietSeconds = Annotated[int, Field(ge=5, le=24 * 60 * 60)]
Percentage = Annotated[float, Field(ge=0, le=100)]
