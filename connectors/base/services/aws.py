"""AWS for `sqs`, `sns` and `s3`: clients of aiobotocore under the egress policy, and its errors in our words.

Credentials are those of the options, else those that the process's environment has: variables, shared files, web
identity and container roles; none of these where sources may not use AWS_ACCESS_KEY_ID. The metadata service of an EC2
instance is asked only where the options say `instance_role` and the egress policy allows its address: nobody gets a
machine's role by accident.
"""

import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from ipaddress import ip_address
from typing import Any, Final, Self

from pydantic import SecretStr, model_validator

from connectors.base.contract import NotConnected, Refused, Site
from connectors.base.options import Field, Options, Url
from connectors.base.reach.egress import literal_address, plain_host

OF_ENVIRONMENT: Final = "AWS_ACCESS_KEY_ID"
"""Stands for all credentials of the environment: who may use this variable may use them, from wherever they come."""
METADATA: Final = ("169.254.169.254", 80)
CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
_INSTANCE: Final = "iam-role"
_LOCAL_REGION: Final = "us-east-1"
_REGION_OF_HOST: Final = re.compile(
    r"(?:[a-z0-9-]+\.)+?([a-z]{2,5}(?:-[a-z]+)+-\d{1,2})\.amazonaws\.(?:com|com\.cn|eu)", re.ASCII
)
_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,80}", re.ASCII)
_PASSING: Final = re.compile(
    r"throttl|slowdown|limitexceeded|overlimit|toomany|unavailable|internal|timeout|busy|reset", re.IGNORECASE
)
_REMEDIES: Final = (
    (
        re.compile(r"token|signature|accesskey|credential|unrecognizedclient|authfailure|optin", re.IGNORECASE),
        "check the access key, its secret and the session token: they may be wrong, expired or revoked",
    ),
    (re.compile(r"denied|unauthorized|forbidden|^403$", re.IGNORECASE), "allow the action in the policies of AWS"),
    (
        re.compile(r"nosuch|nonexistent|notfound|doesnotexist|^404$|redirect|location|malformed", re.IGNORECASE),
        "check the name and the region",
    ),
    (re.compile(r"skew|requestexpired", re.IGNORECASE), "set the clock of this machine"),
)


class AwsOptions(Options):
    """What all kinds of AWS share."""

    region: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]{1,40}$",
        description="Region; by default that of the queue or topic, else that of the environment (AWS_DEFAULT_REGION, "
        "or the profile's).",
    )
    endpoint_url: Url | None = Field(default=None, description="Another address than that of AWS, of an emulator, say.")
    access_key_id: str | None = Field(
        default=None,
        description="Access key; by default the environment's credentials are used, which all sources share, unless "
        f"the setting connectors.secret_names leaves out {OF_ENVIRONMENT}.",
    )
    secret_access_key: SecretStr | None = Field(default=None, description="Its secret.")
    session_token: SecretStr | None = Field(default=None, description="Session token of temporary credentials.")
    instance_role: bool = Field(
        default=False,
        description="Ask the metadata service of the EC2 instance too, where the environment has no credentials; "
        "the setting connectors.allow must name 169.254.169.254.",
    )

    @model_validator(mode="after")
    def _whole_credentials(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together: give both or none")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token needs access_key_id and secret_access_key")
        return self


class Aws:
    """Clients for one source. What they load from files is kept, credentials are asked for anew with each client."""

    def __init__(self, options: AwsOptions, site: Site) -> None:
        self._options, self._site = options, site
        self._loader: Any = None

    @asynccontextmanager
    async def client(
        self,
        service: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        read_seconds: float = READ_SECONDS,
    ) -> AsyncIterator[Any]:
        """Open a client. `region` and `endpoint_url` are what the name of a resource tells; options come first.

        Raises Refused without region or credentials.
        """
        options = self._options
        session_module = await self._site.in_thread(import_module, "aiobotocore.session")
        config_module = await self._site.in_thread(import_module, "aiobotocore.config")
        session = session_module.get_session()
        if self._loader is None:
            self._loader = session.get_component("data_loader")
        session.register_component("data_loader", self._loader)
        if options.access_key_id is None:
            await self._only_allowed_credentials(session)
        endpoint = options.endpoint_url or endpoint_url
        config = config_module.AioConfig(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=read_seconds,
            retries={"total_max_attempts": 1},  # the frame connects again, leases.py repeats
            proxies={},  # none from the environment: they would connect where nobody has looked
            warm_up_loader_caches=True,
            **_guarded(self._site),
            s3={"addressing_style": "path"} if endpoint is not None else None,
        )
        session.set_default_client_config(config)  # also for those that fetch credentials (STS)
        with told(f"making a client of {service}"):
            context = session.create_client(
                service,
                region_name=options.region or region or (_LOCAL_REGION if endpoint is not None else None),
                endpoint_url=endpoint,
                aws_access_key_id=options.access_key_id,
                aws_secret_access_key=_secret(options.secret_access_key),
                aws_session_token=_secret(options.session_token),
            )
            try:
                client = await context.__aenter__()
            except ValueError:
                raise Refused(f"the endpoint of {service} is no URL; check endpoint_url", reason="options") from None
        try:
            yield client
        finally:
            await context.__aexit__(None, None, None)

    async def _only_allowed_credentials(self, session: Any) -> None:
        if not self._site.may_use(OF_ENVIRONMENT):
            if not self._options.instance_role:
                raise Refused(
                    "sources may not use the environment's credentials for AWS; give access_key_id and "
                    f"secret_access_key, or name {OF_ENVIRONMENT} in the setting connectors.secret_names",
                    reason="credentials",
                )
            providers = session.get_component("credential_provider")
            providers.providers = [one for one in providers.providers if one.METHOD == _INSTANCE]
        if self._options.instance_role:
            await self._site.resolve(*METADATA)
        else:  # also for a profile whose credential_source is Ec2InstanceMetadata
            session.set_config_variable("metadata_service_num_attempts", 0)


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Say what botocore raises in the frame's words; without the servers' words, which may repeat what was sent."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    try:
        yield
    except boto.ClientError as error:
        raise _answered(error.response, doing) from None
    except (boto.ReadTimeoutError, boto.ConnectTimeoutError):
        raise NotConnected(f"{doing}: AWS did not answer in time", reason="timeout") from None
    except (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError, boto.FlexibleChecksumError) as error:
        raise NotConnected(f"{doing}: the connection failed ({type(error).__name__})", reason="closed") from None
    except (boto.CredentialRetrievalError, boto.MetadataRetrievalError):
        raise NotConnected(f"{doing}: credentials could not be fetched", reason="credentials") from None
    except (boto.NoCredentialsError, boto.PartialCredentialsError):
        remedy = "give access_key_id and secret_access_key, or let the environment have some"
        raise Refused(f"{doing}: there are no credentials; {remedy}", reason="credentials") from None
    except boto.NoRegionError:
        raise Refused(f"{doing}: no region is known; give the option region", reason="options") from None
    except boto.BotoCoreError as error:
        message = f"{doing}: {type(error).__name__}; check the options and what the environment has for AWS"
        raise Refused(message, reason="options") from None
    # Its parsers raise any of these for an answer of another shape, or with a time that is none.
    except (ResponseParserError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise NotConnected(f"{doing}: the answer is none of AWS", reason="protocol") from None
    except RuntimeError as error:
        if "timezone offset" not in str(error):
            raise
        raise NotConnected(f"{doing}: the answer is none of AWS", reason="protocol") from None


def region_of(name: str) -> str | None:
    """Return the region that an ARN or the host of a URL names."""
    if name.startswith("arn:"):
        parts = name.split(":")
        return parts[3] or None if len(parts) > 5 else None
    host = re.sub(r"^https?://|[:/].*$", "", name)
    found = _REGION_OF_HOST.fullmatch(host)
    return None if found is None else found[1]


def code_of(text: object) -> str:
    """Return an error's code if it looks like one: it gets into messages."""
    return text if isinstance(text, str) and _CODE.fullmatch(text) else "an error without a code"


def _answered(response: Any, doing: str) -> NotConnected | Refused:
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = code_of(response.get("Error", {}).get("Code"))
    if status >= 500 or status == 429 or _PASSING.search(code):
        return NotConnected(f"{doing}: AWS answered {code} (status {status})", reason=f"http_{status}")
    remedy = next((remedy for pattern, remedy in _REMEDIES if pattern.search(code)), "check the options")
    return Refused(f"{doing}: AWS answered {code} (status {status}); {remedy}", reason=f"http_{status}")


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


# ---- where it connects -----------------------------------------------------------------------------------------------


def _guarded(site: Site) -> dict[str, Any]:
    """What a client's configuration needs so that it connects only to addresses that `site.resolve` has approved.

    The resolver is asked about names, `send` looks at addresses in URLs; the socket, made last, is for approved ones
    alone, whatever the library does. It follows no redirects: they would take a session token elsewhere.
    """
    from aiobotocore.httpsession import AIOHTTPSession
    from aiohttp.abc import AbstractResolver, ResolveResult
    from botocore.exceptions import HTTPClientError
    from yarl import URL

    approved: set[tuple[str, int]] = set()

    async def approve(host: str, port: int) -> list[tuple[str, int]]:
        found = [(str(ip_address(address)), port) for address, port in await site.resolve(host, port)]
        approved.update(found)
        return found

    class Approving(AbstractResolver):
        async def resolve(
            self,
            host: str,
            port: int = 0,
            family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 both
        ) -> list[ResolveResult]:
            return [
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                    proto=socket.IPPROTO_TCP,
                    flags=socket.AI_NUMERICHOST,
                )
                for address, port in await approve(host, port)
            ]

        async def close(self) -> None:
            pass

    def socket_for(info: Any) -> socket.socket:
        family, kind, protocol, _, (address, port, *_) = info
        if (str(ip_address(address.partition("%")[0])), port) not in approved:
            message = f"AWS sent us to {address}, port {port}, which nobody has approved; check endpoint_url"
            raise Refused(message, reason="forbidden_address")
        return socket.socket(family=family, type=kind, proto=protocol)

    class Straight:
        def __init__(self, session: Any) -> None:
            self._session = session

        async def request(self, method: str, **options: Any) -> Any:
            return await self._session.request(method, allow_redirects=False, **options)

    class Guarded(AIOHTTPSession):  # type: ignore[misc] # it has no types
        async def _get_session(self, proxy_url: str | None) -> Straight:
            return Straight(await super()._get_session(proxy_url))

        async def send(self, request: Any) -> Any:
            try:
                url = URL(request.url, encoded=True)
                host, port = plain_host(url.raw_host or ""), url.port or 443
            except ValueError:
                raise Refused("the endpoint of AWS is no URL; check endpoint_url", reason="invalid_url") from None
            if literal_address(host) is not None:
                await approve(host, port)
            try:
                response = await super().send(request)
            except HTTPClientError as error:
                if isinstance(cause := error.kwargs.get("error"), Refused | NotConnected):
                    raise cause from None
                raise
            length = response.headers.get("content-length", "")
            site.heard(int(length) if length.isdigit() else 1)
            return response

    return {
        "http_session_cls": Guarded,
        "connector_args": {"use_dns_cache": False, "resolver": Approving(), "socket_factory": socket_for},
    }
