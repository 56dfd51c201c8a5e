"""What a provider reads of `provider_configs.settings`: checked whole, and refused by name."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from emailsync.domain.errors import Misconfigured


class StoredSettings(BaseModel):
    """The settings of one account; a provider says which there are."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Self:
        """Return the settings of a stored account.

        Raises:
            Misconfigured: naming the first wrong setting, never its value.
        """
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Misconfigured(f"the account's setting {where}: {first['msg']}") from error
