"""OpenBao, a real server with the transit engine: what stands for OpenBao and HashiCorp Vault in the tests."""

import json
import pathlib
import shutil
import signal
import ssl
import tempfile
import urllib.error
import urllib.request

from . import place, process
from .authority import Authority

_CONFIG = """
storage "raft" {{
  path = "{base}/data"
  node_id = "one"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}
listener "tcp" {{
  address = "127.0.0.1:{tls_port}"
  tls_cert_file = "{certificate}"
  tls_key_file = "{key}"
  tls_client_ca_file = "{ca}"
}}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster_port}"
log_level = "warn"
audit "file" "log" {{
  options {{
    file_path = "{base}/audit.log"
  }}
}}
"""


class Refused(Exception):
    """The server said no: `status`, `errors`."""

    def __init__(self, status, errors):
        super().__init__(f"{status}: {errors}")
        self.status = status
        self.errors = errors


class OpenBao:
    """A server of its own: unsealed, with `transit` enabled and its audit log showing the context. `url` is plain HTTP,
    `tls_url` HTTPS by `authority`; `root` a token that may do all. It logs each request in `audit.log`. A `bare` one has
    no engine yet."""

    def __init__(self, outlive=False, bare=False):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="envelope-bao-", dir="/tmp"))
        self.authority = Authority()
        self.port, self.tls_port, cluster_port = (process.free_port() for _ in range(3))
        self.address, self.tls_address = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.tls_port}"
        self.url, self.tls_url = f"http://{self.address}", f"https://{self.tls_address}"
        self.certificate, self._key = self.authority.issue("openbao")
        self._outlive = outlive
        (self.base / "data").mkdir()
        self._log_path = self.base / "log"
        self._log_path.touch()
        config = self.base / "bao.hcl"
        config.write_text(_CONFIG.format(base=self.base, port=self.port, tls_port=self.tls_port,
                                         cluster_port=cluster_port, certificate=self.certificate, key=self._key,
                                         ca=self.authority.ca))
        for path in (self.base, self.base / "data", self._log_path, config):
            process.give_to_server(path)
        self._server = None
        self.root = None
        try:
            self._launch()
            made = self.request("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            self._unseal_key, self.root = made["keys_base64"][0], made["root_token"]
            self.unseal()
            if not bare:
                self.enable_transit()
        except BaseException:
            self.destroy()
            raise

    # -- life ---------------------------------------------------------------------------------------------------

    def _launch(self):
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.base), "LANG": "C.UTF-8"}
        with open(self._log_path, "ab") as log:
            self._server = process.spawn([place.OPENBAO, "server", f"-config={self.base}/bao.hcl"], env=env, log=log,
                                         as_server_user=True, outlive=self._outlive)
        self.pid = self._server.pid
        process.wait_until(self._answers, "OpenBao start")

    def _answers(self):
        if self._server.poll() is not None:
            raise RuntimeError("OpenBao did not start:\n" + self._log_path.read_text(errors="replace"))
        try:
            self.request("GET", "sys/seal-status")
            return True
        except (OSError, Refused):
            return False

    def start(self):
        """Comes back after `stop`, on the same ports, unsealed."""
        self._launch()
        self.unseal()

    def stop(self):
        """As a machine that goes down: connections are refused. What it knows stays on its disk."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(10)
            except Exception:
                self._server.kill()
                self._server.wait()

    def freeze(self):
        """It takes connections, and answers none of them, until `thaw`."""
        self._server.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._server.send_signal(signal.SIGCONT)

    def seal(self):
        self.request("PUT", "sys/seal")

    def unseal(self):
        self.request("PUT", "sys/unseal", {"key": self._unseal_key})
        process.wait_until(self._is_active, "OpenBao is unsealed")

    def _is_active(self):
        try:
            return self.request("GET", "sys/health") and self.request("GET", "sys/mounts") is not None
        except Refused as error:
            # Before the root token is known, mounts are not ours to list.
            return False if error.status in (429, 500, 503) else self.root is None

    def destroy(self):
        if self._server is not None:
            if self._server.poll() is None:
                self.thaw()
            self.stop()
        self.authority.remove()
        shutil.rmtree(self.base, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.destroy()

    # -- requests -----------------------------------------------------------------------------------------------

    def request(self, method, path, body=None, token=None, namespace=None, certificate=None):
        """The JSON of one answer, `{}` for none; as root unless another `token` asks. A client `certificate` is the
        paths of one and of its key."""
        headers = {"Content-Type": "application/json"}
        if token or self.root:
            headers["X-Vault-Token"] = token or self.root
        if namespace:
            headers["X-Vault-Namespace"] = namespace
        tls = None
        if certificate:
            tls = ssl.create_default_context(cafile=self.authority.ca)
            tls.load_cert_chain(*certificate)
        url = f"{self.tls_url if certificate else self.url}/v1/{path}"
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(url, data, headers, method=method)
            with urllib.request.urlopen(request, timeout=30, context=tls) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            try:
                errors = json.loads(text).get("errors", [])
            except ValueError:
                errors = [text]
            raise Refused(error.code, errors) from None

    def cli_env(self, token=None):
        """The environment in which the `bao` command talks to it, by TLS."""
        return {"PATH": f"{place.OPENBAO.parent}:/usr/bin:/bin", "HOME": str(self.base), "LANG": "C.UTF-8",
                "BAO_ADDR": self.tls_url, "BAO_CACERT": str(self.authority.ca), "BAO_TOKEN": token or self.root}

    def audit(self):
        """What its audit log holds: one object a request and one an answer."""
        lines = (self.base / "audit.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line]

    # -- transit ------------------------------------------------------------------------------------------------

    def enable_transit(self, mount="transit", namespace=None):
        self.request("POST", f"sys/mounts/{mount}", {"type": "transit"}, namespace=namespace)
        self.request("POST", f"sys/mounts/{mount}/tune", {"audit_non_hmac_request_keys": ["context"]},
                     namespace=namespace)

    def create_key(self, name, mount="transit", namespace=None, derived=True, **more):
        """A key that binds the context, unless told otherwise; `more` are options of transit."""
        self.request("POST", f"{mount}/keys/{name}", {"derived": derived, **more}, namespace=namespace)

    def key(self, name, mount="transit", namespace=None):
        """What transit tells of it."""
        return self.request("GET", f"{mount}/keys/{name}", namespace=namespace)["data"]

    def configure_key(self, name, mount="transit", namespace=None, **options):
        """`min_decryption_version=…`, `deletion_allowed=True`, …"""
        self.request("POST", f"{mount}/keys/{name}/config", options, namespace=namespace)

    def rotate_key(self, name, mount="transit", namespace=None):
        self.request("POST", f"{mount}/keys/{name}/rotate", namespace=namespace)

    def delete_key(self, name, mount="transit", namespace=None):
        """For ever."""
        self.configure_key(name, mount, namespace, deletion_allowed=True)
        self.request("DELETE", f"{mount}/keys/{name}", namespace=namespace)

    def disable_key(self, name, mount="transit", namespace=None):
        """OpenBao's soft delete, which `enable_key` takes back."""
        self.request("DELETE", f"{mount}/keys/{name}/soft-delete", namespace=namespace)

    def enable_key(self, name, mount="transit", namespace=None):
        self.request("POST", f"{mount}/keys/{name}/soft-delete-restore", namespace=namespace)

    # -- rights -------------------------------------------------------------------------------------------------

    def policy(self, name, hcl, namespace=None):
        self.request("PUT", f"sys/policies/acl/{name}", {"policy": hcl}, namespace=namespace)

    def key_policy(self, name, key, mount="transit", namespace=None, may=("datakey/plaintext", "decrypt", "encrypt",
                                                                        "rewrap"), reads=True):
        """The least that the extension needs of a key: each right is one path."""
        rules = [f'path "{mount}/{right}/{key}" {{ capabilities = ["update"] }}' for right in may]
        if reads:
            rules.append(f'path "{mount}/keys/{key}" {{ capabilities = ["read"] }}')
        self.policy(name, "\n".join(rules), namespace)

    def token(self, *policies, type="batch", ttl="24h", namespace=None, **more):
        """A token with these policies. A batch token cannot be revoked, a service token can."""
        body = {"policies": list(policies), "type": type, "ttl": ttl, "no_parent": type != "batch", **more}
        return self.request("POST", "auth/token/create", body, namespace=namespace)["auth"]["client_token"]

    def revoke_all(self):
        """Every service token but the root's, as if they had expired."""
        own = self.request("GET", "auth/token/lookup-self")["data"]["accessor"]
        for accessor in self.accessors():
            if accessor != own:
                self.request("POST", "auth/token/revoke-accessor", {"accessor": accessor})

    def accessors(self):
        """Of the service tokens that it keeps."""
        return self.request("LIST", "auth/token/accessors")["data"]["keys"]

    def quota(self, name, rate, path="", interval="1s"):
        """So many whole requests in each interval from one address, on `path` (a whole one, `transit/decrypt/*`, a mount with its
        slash) or everywhere."""
        self.request("POST", f"sys/quotas/rate-limit/{name}", {"rate": rate, "interval": interval, "path": path})

    def drop_quota(self, name):
        def dropped():
            try:
                return self.request("DELETE", f"sys/quotas/rate-limit/{name}") == {}
            except Refused as error:
                # It counts this request, too.
                if error.status != 429:
                    raise
                return False

        process.wait_until(dropped, "the quota is dropped")

    def namespace(self, name):
        self.request("POST", f"sys/namespaces/{name}")

    def enable_auth(self, type, mount=None, namespace=None):
        self.request("POST", f"sys/auth/{mount or type}", {"type": type}, namespace=namespace)

    # -- auth methods -------------------------------------------------------------------------------------------

    def approle(self, role, *policies, mount="approle", namespace=None, type="batch", ttl="24h", **more):
        """A role of AppRole; its role_id and a secret_id."""
        path = f"auth/{mount}/role/{role}"
        body = {"token_policies": list(policies), "token_type": type, "token_ttl": ttl, **more}
        self.request("POST", path, body, namespace=namespace)
        role_id = self.request("GET", f"{path}/role-id", namespace=namespace)["data"]["role_id"]
        return role_id, self.secret_id(role, mount, namespace)

    def secret_id(self, role, mount="approle", namespace=None):
        made = self.request("POST", f"auth/{mount}/role/{role}/secret-id", namespace=namespace)
        return made["data"]["secret_id"]

    def jwt_role(self, role, issuer, *policies, mount="jwt", namespace=None, type="batch", ttl="24h", **more):
        """A role for the tokens of a harness.jwt.Issuer, which need no more than its public key."""
        self.request("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": [issuer.public_key]},
                     namespace=namespace)
        body = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": [issuer.audience],
                "token_policies": list(policies), "token_type": type, "token_ttl": ttl, **more}
        self.request("POST", f"auth/{mount}/role/{role}", body, namespace=namespace)

    def kubernetes_role(self, role, api, *policies, mount="kubernetes", type="batch", ttl="24h", **more):
        """A role for the service accounts that a harness.jwt.TokenReview vouches for."""
        config = {"kubernetes_host": api.url, "kubernetes_ca_cert": self.authority.ca.read_text(),
                  "token_reviewer_jwt": api.reviewer, "disable_local_ca_jwt": True}
        self.request("POST", f"auth/{mount}/config", config)
        body = {"bound_service_account_names": "*", "bound_service_account_namespaces": "*",
                "token_policies": list(policies), "token_type": type, "token_ttl": ttl, **more}
        self.request("POST", f"auth/{mount}/role/{role}", body)

    def cert_role(self, role, certificate, *policies, mount="cert", type="batch", ttl="24h", **more):
        """A role for whoever shows this client certificate, or one that it signed."""
        body = {"certificate": pathlib.Path(certificate).read_text(), "token_policies": list(policies),
                "token_type": type, "token_ttl": ttl, **more}
        self.request("POST", f"auth/{mount}/certs/{role}", body)


def kek(server, name, mount="transit", tls=False):
    """The URI by which the extension names a transit key."""
    if tls:
        return f"vault://{server.tls_address}/{mount}/keys/{name}"
    return f"vault+http://{server.address}/{mount}/keys/{name}"
