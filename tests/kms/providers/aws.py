"""AWS KMS, as two programs play it."""

import contextlib

from harness import faults, localstack, moto
from harness.proxy import FaultProxy

from .provider import Provider


class _Aws(Provider):
    """One behind a proxy, which counts and makes the faults of the way to the KMS."""

    region: str
    lacks = {"sealed": "a KMS of AWS is not sealed"}
    costs = {"generate": 2, "unwrap": 1, "rewrap": 2}

    def __init__(self, stack):
        super().__init__(stack)
        self.server = stack.enter_context(self._start())
        self.proxy = stack.enter_context(FaultProxy(self.server.url))
        self.conf = {"envelope.aws_endpoint_url": f"{self.region}={self.proxy.url}"}
        self.env = dict(moto.CREDENTIALS)

    def _start(self):
        raise NotImplementedError

    def _client(self):
        return self.server.client(region=self.region)

    def new_kek(self):
        return moto.kek(self.server.create_key(self.region))

    def data_key(self, kek, wrapped, context):
        return self._client().decrypt(KeyId=_arn(kek), CiphertextBlob=wrapped, EncryptionContext=context)["Plaintext"]

    def calm(self):
        self.proxy.clear()
        self.calm_counts()

    def calm_counts(self):
        self.proxy.reset_counts()

    @property
    def requests(self):
        return sum(self.proxy.counts.values())

    @contextlib.contextmanager
    def _answering(self, fault):
        self.proxy.fault("*", fault)
        try:
            yield
        finally:
            self.proxy.clear()

    def denied(self, kek):
        return self._answering(faults.deny)

    def throttled(self, kek):
        return self._answering(faults.throttle)

    def slow(self, kek):
        return self._answering(faults.delay(0.5))

    def hanging(self, kek):
        return self._answering(faults.hang)

    def garbage(self, kek):
        return self._answering(faults.garbage)

    def expired(self, kek):
        return self._answering(faults.expired_token)

    @contextlib.contextmanager
    def down(self, kek):
        self.proxy.refuse()
        try:
            yield
        finally:
            self.proxy.listen()

    @contextlib.contextmanager
    def rotated(self, kek):
        self._client().rotate_key_on_demand(KeyId=_id(kek))
        yield


class Moto(_Aws):
    name = "moto"
    region = moto.REGION
    # It takes what is under another key, or no wrap at all, for something that one may not use.
    answers = {"wrong key": "28000", "changed wrap": "28000"}

    def _start(self):
        return moto.Moto()

    # It lets disabled keys and those that wait for their deletion go on: the proxy answers for it.

    def disabled(self, kek):
        return self._answering(faults.disabled)

    def deleted(self, kek):
        return self._answering(faults.pending_deletion)


class LocalStack(_Aws):
    name = "localstack"
    region = localstack.REGION

    def _start(self):
        return localstack.LocalStack()

    @contextlib.contextmanager
    def disabled(self, kek):
        self._client().disable_key(KeyId=_id(kek))
        try:
            yield
        finally:
            self._client().enable_key(KeyId=_id(kek))

    @contextlib.contextmanager
    def deleted(self, kek):
        self._client().schedule_key_deletion(KeyId=_id(kek), PendingWindowInDays=7)
        try:
            yield
        finally:
            self._client().cancel_key_deletion(KeyId=_id(kek))
            self._client().enable_key(KeyId=_id(kek))


def _arn(kek):
    return kek.removeprefix("aws-kms://")


def _id(kek):
    return kek.rpartition("/")[2]
