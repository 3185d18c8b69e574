"""Access, API keys and the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from indexer.domain.api_key import ApiKey
from service.schemas.base import JSON_INTEGER, JsonFloat, ResponseModel
from service.schemas.text import Text

KeyRole = Literal["line", "operator", "engineer", "admin"]


class AccessView(ResponseModel):
    """The API key of a request. open: no keys are required, and every client has the role admin.

    subject: of a session, who has signed in.
    """

    access: Literal["keys", "open"]
    name: str
    key_id: str | None
    role: KeyRole
    subject: str | None


class CreateKeyRequest(BaseModel):
    """A key to create."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "press-4", "role": "line"}]})

    name: Text
    role: KeyRole
    expires_in_days: JsonFloat | None = Field(
        None, gt=0, le=36_500, description="Days until the key expires; null: never."
    )
    requests_per_minute: Annotated[int, Field(ge=0, le=10_000_000), JSON_INTEGER] | None = Field(
        None, description="Rate limit of this key; null: the service's default, 0: unlimited."
    )


class KeyView(ResponseModel):
    """A key, without its token. subject: of a session, who has signed in, as the identity provider knows them."""

    id: str
    name: str
    role: KeyRole
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_minute: int | None
    subject: str | None

    @classmethod
    def of(cls, key: ApiKey) -> KeyView:
        """A key as it is shown."""
        return cls(**{name: value for name, value in vars(key).items() if name != "digest"})


class NewKeyView(KeyView):
    """A new key, with its token."""

    token: str = Field(description="Sent by clients as `Authorization: Bearer …`. Shown only in this response.")


class KeysResponse(ResponseModel):
    """Every key, oldest first."""

    keys: tuple[KeyView, ...]


class AuditEntryView(ResponseModel):
    """One change. `before` and `after` hold what was different."""

    id: int
    at: datetime
    actor: str
    key_id: str | None
    request_id: str | None
    action: str
    target: str
    before: dict[str, Any]
    after: dict[str, Any]


class AuditPage(ResponseModel):
    """Changes, newest first; `next_cursor` continues."""

    entries: tuple[AuditEntryView, ...]
    next_cursor: str | None
