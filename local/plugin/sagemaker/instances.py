"""The instances of one endpoint configuration: a server each; a request goes to the least busy."""

import threading
from dataclasses import dataclass, field

from local.plugin.sagemaker.fleet import Fleet, FleetFailed
from local.plugin.sagemaker.instance_holds import Hold
from local.plugin.sagemaker.store import Record


@dataclass
class Instances:
    """The servers of one endpoint configuration."""

    endpoint: str
    config: Record
    hold: Hold | None
    """Their part of the account's quota; None if a serverless variant has no instances."""
    servers: tuple[Fleet, ...] = ()
    """Those in service."""
    _starting: Fleet | None = None
    _stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def scale(self, count: int) -> None:
        """Start or end servers until there are `count`; those that end complete their requests.

        Raises FleetFailed if one cannot be started; those before it stay in service.
        """
        while len(self.servers) < count:
            self._add()
        ending, self.servers = self.servers[count:], self.servers[:count]
        _retire(ending)
        if self.hold:
            self.hold.resize(count)

    def acquire(self) -> Fleet | None:
        """Acquire the least busy server for a request; None if there is none."""
        while servers := self.servers:
            server = min(servers, key=lambda one: one.in_use)
            server.acquire()
            if server in self.servers:
                return server
            server.release()  # ended in between: it may be stopping already
        return None

    def retire(self) -> None:
        """Stop each server once it has completed its requests."""
        ending, self.servers = self.servers, ()
        _retire(ending)
        self._release()

    def stop(self) -> None:
        """End all servers, also one that is being started."""
        with self._lock:
            self._stopped = True
            ending = [*self.servers, *([self._starting] if self._starting else [])]
            self.servers = ()
        for server in ending:
            server.stop()
        self._release()

    def _release(self) -> None:
        if self.hold:
            self.hold.release()

    def _add(self) -> None:
        with self._lock:
            if self._stopped:
                raise FleetFailed("The endpoint was deleted.")
            server = self._starting = Fleet.of(self.endpoint, self.config)
        try:
            server.start()
        except BaseException:
            server.stop()
            raise
        finally:
            with self._lock:
                self._starting = None
        with self._lock:
            if not self._stopped:
                self.servers = (*self.servers, server)
                return
        server.stop()
        raise FleetFailed("The endpoint was deleted.")


def _retire(servers: tuple[Fleet, ...]) -> None:
    for server in servers:
        threading.Thread(target=server.retire, name=f"retire-{server.endpoint}", daemon=True).start()
