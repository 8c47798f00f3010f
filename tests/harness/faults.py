"""What can go wrong at a KMS endpoint. Each fault answers one exchange of the proxy."""

import base64
import json
import os
import re

AMZ_JSON = "application/x-amz-json-1.1"


def none(x):
    x.answer(*x.upstream())


def delay(seconds):
    """Slow, then as it should be."""

    def fault(x):
        x.released.wait(seconds)
        none(x)

    return fault


def hang(x):
    """No byte of an answer until the proxy is cleared."""
    x.released.wait(120)
    x.reset()


def hang_in_body(x):
    """Headers and half of the body, then silence."""
    status, kind, body = x.upstream()
    x.answer(status, kind, body[: len(body) // 2], length=len(body))
    x.released.wait(120)


def drip(x):
    """The answer a byte at a time, slower than anyone waits."""
    status, kind, body = x.upstream()
    # Promises more than there is, so that the connection is not used again.
    x.answer(status, kind, body[:1], length=len(body))
    for i in range(1, len(body)):
        if x.released.wait(0.1):
            return
        x.send(body[i:i + 1])


def another_key(x):
    """A whole answer, but under another KEK than the one asked for."""
    status, kind, body = x.upstream()
    x.answer(status, kind, re.sub(rb"[0-9a-f]{8}-(?=[0-9a-f]{4}-[0-9a-f]{4}-)", b"00000000-", body))


def reset(x):
    x.reset()


def truncated(x):
    """Half of the body, then the connection closes."""
    status, kind, body = x.upstream()
    x.answer(status, kind, body[: len(body) // 2], length=len(body))


def endless(x):
    """A whole answer's beginning, then bytes for as long as anybody reads them."""
    x.answer(200, AMZ_JSON, b'{"KeyId": "', length=1 << 40)
    x.stream(b"x" * (1 << 20))


def garbage(x):
    x.answer(200, AMZ_JSON, b"\x00\xff<html>not what you asked for" * 3)


def error(code, status=400):
    """An error as KMS says it."""

    def fault(x):
        x.answer(status, AMZ_JSON, json.dumps({"__type": code, "message": "by the test"}).encode())

    return fault


def unauthorized(x):
    """A gateway in between refuses, without a code."""
    x.answer(401, "text/html", b"")


deny = error("AccessDeniedException")
expired_token = error("ExpiredTokenException")
disabled = error("DisabledException")
missing = error("NotFoundException")
pending_deletion = error("KMSInvalidStateException")
throttle = error("ThrottlingException")
invalid_ciphertext = error("InvalidCiphertextException")
incorrect_key = error("IncorrectKeyException")
internal = error("KMSInternalException", 500)
unavailable = error("DependencyTimeoutException", 503)


def sts_error(code, status=403):
    """An error as STS says it."""
    body = (f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>by the test</Message></Error>"
            "<RequestId>1</RequestId></ErrorResponse>")
    return lambda x: x.answer(status, "text/xml", body.encode())


def deny_all_but(*callers):
    """A key policy that lets only these in."""
    return lambda x: (none if x.caller in callers else deny)(x)


def plaintext_of(length, other=None):
    """Answers with a data key of so many bytes: random, or `other`."""

    def fault(x):
        status, kind, body = x.upstream()
        answer = json.loads(body)
        answer["Plaintext"] = base64.b64encode(other or os.urandom(length)).decode()
        x.answer(status, kind, json.dumps(answer).encode())

    return fault


another_plaintext = plaintext_of(32)
short_plaintext = plaintext_of(16)
long_plaintext = plaintext_of(33)
