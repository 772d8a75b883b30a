"""Settings of Agentforce (beta): the org, how it knows us, and how far behind now its sessions are read."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, model_validator

from detectors.core.columns import SECOND_NS
from service.config.setting_types import Duration, Secret, Section

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HOUR_NS = 3600 * SECOND_NS
EXPORTED_NS = 72 * HOUR_NS
"""How long ago a session may have started to be exported: the vendor's limit."""


def org_url(text: object) -> object:
    """The URL of an org, of https (of http on this machine alone); empty for none. What was read is never repeated.

    >>> org_url("https://example.my.salesforce.com/")
    'https://example.my.salesforce.com'
    """
    if not isinstance(text, str) or not text:
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or "@" in parts.netloc:
        raise ValueError("this is not the URL of an org; write https://MYDOMAIN.my.salesforce.com")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("a secret is sent there, so it must be https; write https://MYDOMAIN.my.salesforce.com")
    return text.rstrip("/")


def rest_version(text: object) -> object:
    """A version of the vendor's REST API."""
    if not isinstance(text, str) or not re.fullmatch(r"v\d{2,3}\.0", text):
        raise ValueError("this is not a version of the API; write it as v66.0")
    return text


class AgentforceSettings(Section):
    instance_url: Annotated[str, BeforeValidator(org_url)] = Field(
        "", description="beta: an org whose Agentforce sessions are read, as https://MYDOMAIN.my.salesforce.com"
    )
    client_id: str = Field("", description="consumer key of its external client app, with the client credentials flow")
    client_secret: Secret | None = Field(None, description="consumer secret of that app")
    api_version: Annotated[str, BeforeValidator(rest_version)] = Field("v66.0", description="of its REST API")
    poll_every: Duration = Field(60 * SECOND_NS, ge=SECOND_NS, description="how often its sessions are asked for")
    hold: Duration = Field(
        HOUR_NS // 2,
        gt=0,
        le=24 * HOUR_NS,
        description="how far behind now its spans are read: as long as a session lasts and takes to be exported",
    )
    look_back: Duration = Field(
        HOUR_NS, le=EXPORTED_NS, description="how far back the first start reads; the vendor exports 72 hours"
    )

    @model_validator(mode="after")
    def is_whole(self) -> "AgentforceSettings":
        """Raises ValueError where the org is told and not how it knows us."""
        if self.instance_url and not (self.client_id and self.client_secret):
            raise ValueError("set …__CLIENT_ID and …__CLIENT_SECRET (or …_FILE), too: without them nothing is answered")
        return self
