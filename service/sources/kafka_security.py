"""How brokers know us and we know them: TLS, certificates and SASL, for every client of Kafka that we make.

Raises ValueError with the setting that is missing or wrong. aiokafka cannot authenticate anew on a connection that
lives (KIP-368), so a broker cuts it when its token expires; the next connection takes a new token.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from service.sources.kafka_settings import KafkaSettings, Protocol, secret

log = logging.getLogger("tocsin.kafka")

OURS = "TOCSIN_KAFKA__"
RENEW_AT = 0.8
"""Share of its life after which a token is asked for anew."""
PROBE_MS = 5_000


class Security:
    """The arguments of aiokafka's clients that say how to connect, and the certificates behind them."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self._context = context(settings)
        self._read_s = time.time()
        self._tokens = _tokens(settings)
        in_clear = settings.security_protocol is Protocol.SASL_PLAINTEXT
        if in_clear and settings.sasl_mechanism in ("PLAIN", "OAUTHBEARER"):
            log.warning("credentials go to Kafka without TLS: %sSECURITY_PROTOCOL is SASL_PLAINTEXT", OURS)

    def arguments(self) -> dict[str, Any]:
        """What aiokafka's consumer, producer and admin client take."""
        settings = self.settings
        return {
            "bootstrap_servers": settings.bootstrap_servers,
            "client_id": settings.client_id,
            "security_protocol": settings.security_protocol.value,
            "ssl_context": self._context,
            "sasl_mechanism": settings.sasl_mechanism or "PLAIN",
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": secret(settings.sasl_password),
            "sasl_oauth_token_provider": self._tokens,
        }

    def reload(self) -> None:
        """Read certificates anew that have changed; connections that are made from now on use them."""
        paths = (self.settings.ssl_ca_file, self.settings.ssl_cert_file, self.settings.ssl_key_file)
        try:
            newest_s = max((path.stat().st_mtime for path in paths if path), default=0.0)
            if self._context is None or newest_s <= self._read_s:
                return
            _load(self._context, self.settings)
        except (OSError, ValueError) as error:
            log.error("certificates for Kafka have changed and cannot be read (%s): the ones before stay in use", error)
        else:
            log.info("certificates for Kafka were read anew")
        self._read_s = time.time()

    async def why(self) -> tuple[str, bool]:
        """Return (what keeps the first broker from taking us, whether it is a wrong setting).

        aiokafka says only that it cannot connect to any of them.
        """
        said, is_wrong = "", False
        for server in (self.settings.bootstrap_servers or "").split(","):
            host, _, port = server.strip().rpartition(":")
            if not host or not port.isdecimal():
                return f"{server.strip()!r:.80} is not HOST:PORT; see {OURS}BOOTSTRAP_SERVERS", True
            arguments = {name: value for name, value in self.arguments().items() if name != "bootstrap_servers"}
            try:
                made = await create_conn(host.strip("[]"), int(port), request_timeout_ms=PROBE_MS, **arguments)
            except Exception as error:  # Any: it is told, and whether it is final is for the caller to say.
                told, is_wrong = _reason(error)
                said = f"{server.strip()}: {told}"
            else:
                made.close()
                return "", False
        return said, is_wrong


def context(settings: KafkaSettings) -> ssl.SSLContext | None:
    """The TLS that a listener asks for; None for one without."""
    uses_sasl = settings.security_protocol in (Protocol.SASL_PLAINTEXT, Protocol.SASL_SSL)
    if uses_sasl and settings.sasl_mechanism is None:
        raise ValueError(f"{OURS}SECURITY_PROTOCOL is {settings.security_protocol}: set {OURS}SASL_MECHANISM")
    if not uses_sasl and settings.sasl_mechanism is not None:
        raise ValueError(f"{OURS}SASL_MECHANISM needs a protocol with SASL: set {OURS}SECURITY_PROTOCOL to SASL_SSL")
    if settings.security_protocol in (Protocol.PLAINTEXT, Protocol.SASL_PLAINTEXT):
        for name in ("ssl_ca_file", "ssl_cert_file", "ssl_key_file"):
            if getattr(settings, name):
                raise ValueError(
                    f"{OURS}{name.upper()} needs TLS: {OURS}SECURITY_PROTOCOL is {settings.security_protocol}"
                )
        return None
    made = ssl.create_default_context()
    if settings.ssl_ca_file:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = settings.ssl_check_hostname
    _load(made, settings)
    return made


def _load(made: ssl.SSLContext, settings: KafkaSettings) -> None:
    if settings.ssl_ca_file:
        _with(settings.ssl_ca_file, "SSL_CA_FILE", lambda path: made.load_verify_locations(cafile=path))
    if settings.ssl_cert_file:
        key, password = settings.ssl_key_file, secret(settings.ssl_key_password)
        if key:
            _with(key, "SSL_KEY_FILE", lambda path: None)
        _with(settings.ssl_cert_file, "SSL_CERT_FILE", lambda path: made.load_cert_chain(path, key, password or ""))
    elif settings.ssl_key_file:
        raise ValueError(f"{OURS}SSL_KEY_FILE is set, and no certificate: set {OURS}SSL_CERT_FILE")


def _with(path: Path, name: str, read: Callable[[Path], object]) -> None:
    try:
        with path.open("rb"):
            read(path)
    except ssl.SSLError as error:
        raise ValueError(f"{OURS}{name}: {path} is not what it should be: {error.reason or error}") from None
    except OSError as error:
        raise ValueError(f"{OURS}{name}: cannot read {path}: {error.strerror}") from None


def _tokens(settings: KafkaSettings) -> AbstractTokenProvider | None:
    """What gives tokens, of the three ways one of which must be set for OAUTHBEARER."""
    if settings.sasl_mechanism is None:
        return None
    if settings.sasl_mechanism != "OAUTHBEARER":
        for name in ("sasl_username", "sasl_password"):
            if getattr(settings, name) is None:
                raise ValueError(f"{OURS}SASL_MECHANISM is {settings.sasl_mechanism}: set {OURS}{name.upper()}")
        return None
    ways = [way for way in (settings.oauth_token_url, settings.oauth_token_path, settings.oauth_provider) if way]
    if len(ways) != 1:
        raise ValueError(
            f"OAUTHBEARER takes its token from one of {OURS}OAUTH_TOKEN_URL, {OURS}OAUTH_TOKEN_PATH and "
            f"{OURS}OAUTH_PROVIDER; {'none' if not ways else 'more than one'} is set"
        )
    if settings.oauth_token_path:
        return _FromFile(settings.oauth_token_path)
    if settings.oauth_provider:
        return _FromFunction(settings.oauth_provider)
    if not settings.oauth_client_id or not settings.oauth_client_secret:
        raise ValueError(f"{OURS}OAUTH_TOKEN_URL needs {OURS}OAUTH_CLIENT_ID and {OURS}OAUTH_CLIENT_SECRET")
    return _FromEndpoint(settings)


class _FromFile(AbstractTokenProvider):  # type: ignore[misc]
    """A file that somebody else keeps fresh, as Kubernetes does."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def token(self) -> str:
        try:
            return (await asyncio.to_thread(self._path.read_text)).strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", "it is not text")
            raise AuthenticationFailedError(f"cannot read {self._path}: {why}") from None


class _FromFunction(AbstractTokenProvider):  # type: ignore[misc]
    """A function of the operator's, called in a thread for each connection."""

    def __init__(self, place: str) -> None:
        module, _, name = place.partition(":")
        try:
            self._function = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"{OURS}OAUTH_PROVIDER: {error}") from None
        self._place = place

    async def token(self) -> str:
        try:
            return str(await asyncio.to_thread(self._function))
        except Exception as error:  # Any: it is somebody else's code.
            raise AuthenticationFailedError(f"{self._place} raised {type(error).__name__}") from None


class _FromEndpoint(AbstractTokenProvider):  # type: ignore[misc]
    """Client credentials of OAuth 2 (RFC 6749, section 4.4)."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._token, self._until_s = "", 0.0
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        async with self._asking:
            if time.monotonic() >= self._until_s:
                await self._ask()
            return self._token

    async def _ask(self) -> None:
        settings = self._settings
        asked = {"grant_type": "client_credentials"} | ({"scope": settings.oauth_scope} if settings.oauth_scope else {})
        login = httpx.BasicAuth(settings.oauth_client_id or "", secret(settings.oauth_client_secret) or "")
        try:
            async with httpx.AsyncClient(timeout=10) as client:
                answer = await client.post(str(settings.oauth_token_url), data=asked, auth=login)
        except httpx.HTTPError as error:
            raise AuthenticationFailedError(f"{OURS}OAUTH_TOKEN_URL: {type(error).__name__}") from None
        try:
            told = answer.json()
            token, life_s = told["access_token"], float(told.get("expires_in", 300))
        except (ValueError, KeyError, TypeError, AttributeError):
            said = f"{OURS}OAUTH_TOKEN_URL answered {answer.status_code} without a token"
            raise AuthenticationFailedError(said) from None
        self._token, self._until_s = str(token), time.monotonic() + RENEW_AT * life_s


def _reason(error: Exception) -> tuple[str, bool]:
    """(an error of a connection in words, whether it will be the same until a setting is changed)."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; see {OURS}SSL_CA_FILE", True
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason}); does this listener speak {OURS}SECURITY_PROTOCOL?", True
    if isinstance(error, AuthenticationFailedError | SaslAuthenticationFailed | UnsupportedSaslMechanismError):
        return f"it does not know us: {error.args[0] if error.args else type(error).__name__}", True
    if isinstance(error, KafkaError | TimeoutError | ConnectionResetError):
        return f"no answer in Kafka's words; does this listener speak {OURS}SECURITY_PROTOCOL?", False
    return f"{getattr(error, 'strerror', None) or type(error).__name__}", False
