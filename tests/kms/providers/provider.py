"""What the suite asks of a provider's server."""

import contextlib


class Provider:
    """A provider of KEKs with its server, and what an administrator or bad luck may do to it.

    A fault is a method with the name of its case (cases.py). It is a context manager: the fault holds inside, and is
    gone after. A provider that has no such thing says why in `lacks`, by the case's name."""

    name: str
    # Why a case cannot be, by its name.
    lacks: dict[str, str] = {}
    # The SQLSTATE of a case where it is another one than the provider's like give, with the reason beside it.
    answers: dict[str, str] = {}
    # Cases after which the KEK is gone for good.
    for_good: frozenset[str] = frozenset()
    # Whether its keys stay although processes that use them are killed.
    outlives_crashes = True
    # A setting that names one server of its kind for all, where another provider has the same.
    one_a_server: str | None = None
    # Requests that reach the server, tries included, at most: for a new key, for opening in a new session, for a move
    # to another KEK of the same provider. None where nobody counts.
    costs: dict[str, int | None] = {"generate": None, "unwrap": None, "rewrap": None}

    def __init__(self, stack):
        """Starts what is needed; `stack` ends it."""
        self._stack = stack
        # Lines for postgresql.conf, variables of the server's environment.
        self.conf, self.env = {}, {}

    def new_kek(self):
        """The URI of a new key that is fit for a KEK."""
        raise NotImplementedError

    def data_key(self, kek, wrapped, context):
        """What a wrap holds, by another way than the extension's."""
        raise NotImplementedError

    def calm(self):
        """No fault any more, and the count of requests is 0."""
        self.calm_counts()

    def calm_counts(self):
        """The count of requests is 0; a fault stays."""

    @property
    def requests(self):
        """Since `calm`: what reached the server. None where nobody counts."""
        return None

    @contextlib.contextmanager
    def fault(self, case, kek):
        with getattr(self, case)(kek):
            yield


class BehindTcpProxy(Provider):
    """One whose server is reached by `proxy`, a TcpProxy, which makes the faults of the way to it."""

    def calm(self):
        self.proxy.clear()
        self.calm_counts()

    def calm_counts(self):
        self.proxy.reset_counts()

    @contextlib.contextmanager
    def _behaving(self, behave, *arguments):
        behave(*arguments)
        try:
            yield
        finally:
            self.proxy.clear()

    def slow(self, kek):
        return self._behaving(self.proxy.slow, 0.5)

    def hanging(self, kek):
        return self._behaving(self.proxy.hang)

    def down(self, kek):
        return self._behaving(self.proxy.refuse)

    def garbage(self, kek):
        return self._behaving(self.proxy.garbage)
