"""Signed tokens as an orchestrator gives them to a workload, and the API server that vouches for them."""

import base64
import http.server
import json
import threading
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from . import process

# Longer than any run of the tests, on any machine.
LONG = 7 * 86400


class Issuer:
    """Signs tokens for one audience (ES256)."""

    def __init__(self, audience="vault"):
        self.audience = audience
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public_key = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    def token(self, subject, audience=None, lives=LONG, **claims):
        now = int(time.time())
        body = {"sub": subject, "aud": audience or self.audience, "iat": now, "nbf": now - 60, "exp": now + lives,
                **claims}
        signed = ".".join(_part(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT"}, body))
        r, s = utils.decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def service_account(self, namespace, name, lives=LONG):
        """A projected token of Kubernetes."""
        account = {"namespace": namespace, "serviceaccount": {"name": name, "uid": f"uid-{namespace}-{name}"}}
        return self.token(f"system:serviceaccount:{namespace}:{name}", [self.audience], lives,
                          **{"kubernetes.io": account})


def _part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _claims(token):
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


class TokenReview:
    """The one call of a Kubernetes API server that its auth method asks: is this token good, and whose is it? Every
    token that names a service account and has not expired is."""

    def __init__(self):
        self.reviewer = Issuer().service_account("kube-system", "reviewer")
        self.port = process.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), _Review)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class _Review(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        claims = _claims(asked["spec"]["token"])
        account = claims.get("kubernetes.io", {}).get("serviceaccount", {})
        good = bool(account) and claims["exp"] > time.time()
        status = {"authenticated": good}
        if good:
            status["user"] = {"username": claims["sub"], "uid": account["uid"], "groups": ["system:serviceaccounts"]}
            status["audiences"] = [name for name in asked["spec"].get("audiences", []) if name in claims["aud"]]
        body = json.dumps({**asked, "status": status}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nobody reads it."""
