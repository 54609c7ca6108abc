"""redis-py's connections, bent to the project's rules. Importing this module imports redis (100 ms)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from redis.backoff import ExponentialWithJitterBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import AuthenticationError, AuthorizationError
from redis.retry import Retry

from tinytown import clock
from tinytown.errors import Forbidden
from tinytown.sockets import SocketPath

RETRIES = 3
BUDGET_S = 9.5
T = TypeVar("T")


class BoundedRetry(Retry):
    """Retries of one command: counted once, bounded in seconds, with a beat between them.

    redis-py retries the connect inside each retry of the command, which multiplies both count and time; here
    only the outermost loop repeats.
    """

    def __init__(
        self, retries: int, timeout_s: float, on_retry: Callable[[], None] | None = None, budget_s: float = BUDGET_S
    ) -> None:
        super().__init__(ExponentialWithJitterBackoff(cap=0.5, base=0.05), retries)
        self._timeout_s = timeout_s
        self._budget_s = budget_s
        self._on_retry = on_retry
        self._active = False

    def __deepcopy__(self, memo: dict[int, Any]) -> BoundedRetry:
        # Each connection copies its retry; the callback belongs to its owner and must not be copied along.
        return BoundedRetry(self._retries, self._timeout_s, self._on_retry, self._budget_s)

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002  redis-py's signature
    ) -> T:
        """Run `do`, again after a lost connection or a time-out; `fail` runs after each failure."""
        outermost, self._active = not self._active, True
        last_start = clock.monotonic() + self._budget_s - self._timeout_s
        failures = 0
        try:
            while True:
                try:
                    return do()
                except self._supported_errors as error:
                    failures += 1
                    fail(*(error, failures) if with_failure_count else (error,))
                    if not outermost or failures > self._retries or _is_final(error):
                        raise
                    if clock.monotonic() > last_start or (is_retryable and not is_retryable(error)):
                        raise
                    if self._on_retry is not None:
                        self._on_retry()
                    clock.sleep(self._backoff.compute(failures))
        finally:
            self._active = not outermost


def _is_final(error: Exception) -> bool:
    """A refusal that another try will not change."""
    return isinstance(error, AuthenticationError | AuthorizationError) or "CERTIFICATE" in str(error)


class _OnTcp:
    """Mixin of what reaches a port: `made_password` gives the password that our server was made to want, if any.

    It is asked for each connection, for it may have been made since the last; a server that wants none gets none.
    """

    password: str | None
    _sock: Any

    def __init__(self, *, made_password: Callable[[], str | None] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._made_password = made_password

    def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002  redis-py's signature
        if self._made_password is not None:
            self.password = self._made_password()
        try:
            super().on_connect_check_health(check_health)  # type: ignore[misc]
        except AuthenticationError as error:
            if self._made_password is None or "without any password" not in str(error):
                raise
            self.password = None  # somebody else's, which came to that port after ours
            self._sock = self._connect()  # type: ignore[attr-defined]
            super().on_connect_check_health(check_health)  # type: ignore[misc]


class TcpConnection(_OnTcp, Connection):
    """Reaches a port."""


class TlsConnection(_OnTcp, SSLConnection):
    """Reaches a port by TLS."""


class UnixConnection(UnixDomainSocketConnection):
    """Reaches a socket whose path is longer than an address."""

    def __init__(self, socket_path: SocketPath, *, is_ours: bool = False, **options: Any) -> None:
        super().__init__(path=str(socket_path.path), **options)  # type: ignore[no-untyped-call]
        self._socket_path = socket_path
        self._is_ours = is_ours

    def _connect(self) -> Any:
        self.path = self._socket_path.address
        connected = super()._connect()  # type: ignore[no-untyped-call]
        if self._is_ours and not self._socket_path.is_served_by_owner(connected):
            connected.close()
            raise Forbidden(
                f"The server at {self._socket_path.path} was started by another user.",
                "Set redis.socket_path to a folder that only you can write in.",
            )
        return connected


class _Waiting:
    """Mixin of a bell: connect and handshake are bounded, then a read waits for as long as it takes."""

    _sock: Any

    def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002  redis-py's signature
        super().on_connect_check_health(check_health)  # type: ignore[misc]
        self._sock.settimeout(None)

    def fileno(self) -> int:
        """For selectors. Raises when it is not connected."""
        return int(self._sock.fileno())

    def has_reply(self) -> bool:
        """A reply can be read without waiting. Raises ConnectionError when the connection has ended.

        Ask before `read_response`: TLS makes a socket readable for records that carry no reply.
        """
        try:
            return bool(self.can_read(0))  # type: ignore[attr-defined]
        finally:
            if self._sock is not None:
                self._sock.settimeout(None)  # the look set it back to the time-out of the handshake


class UnixBell(_Waiting, UnixConnection):
    """Waits on a Unix socket."""


class TcpBell(_Waiting, TcpConnection):
    """Waits on TCP."""


class TlsBell(_Waiting, TlsConnection):
    """Waits on TLS."""


BELLS: dict[type[Any], type[Any]] = {UnixConnection: UnixBell, TcpConnection: TcpBell, TlsConnection: TlsBell}
