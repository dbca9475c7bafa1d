"""Settings of alerts: receivers outside Kafka."""

from typing import Annotated, Self

from pydantic import Field, HttpUrl, Secret, SecretStr, model_validator

from evaluator.monitoring.alerts import webhook
from evaluator.translations import Language
from streams.config import Config, Seconds


class AlertsConfig(Config):
    """Receivers of alerts outside Kafka. Addresses are secrets, because they may hold a password or a token."""

    alertmanager_url: Secret[HttpUrl] | None = None
    webhook_url: Secret[HttpUrl] | None = None
    webhook_secret: Annotated[SecretStr, Field(min_length=16)] | None = None
    link: HttpUrl | None = None
    language: Language = "en"
    resend_s: Seconds = 60.0
    timeout_s: Seconds = 10.0
    longest_wait_s: Seconds = 60.0

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.webhook_url is not None and self.webhook_secret is None:
            raise ValueError(
                "a webhook's messages are signed: set LIVESHELF_ALERTS__WEBHOOK_SECRET as well, to 16 characters or "
                "more that the receiver knows too"
            )
        if self.webhook_secret is not None:
            webhook.key(self.webhook_secret.get_secret_value())
        return self
