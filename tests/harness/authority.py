"""A certificate authority of the tests' own, and what it signs."""

import datetime
import ipaddress
import pathlib
import shutil
import ssl
import tempfile
import types

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import process

DAY = datetime.timedelta(days=1)


class Authority:
    """`ca` is what a client or server is to trust. Keys are files of the server's user, which it alone may read."""

    def __init__(self, name="envelope tests"):
        self._directory = tempfile.mkdtemp(prefix="envelope-ca-", dir="/tmp")
        self.directory = pathlib.Path(self._directory)
        self.directory.chmod(0o755)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self._own = self._signed(self._name, self._key.public_key(), (-DAY, DAY),
                                 [(x509.BasicConstraints(True, None), True), (usage, True)])
        self.ca = self._file("ca.pem", _pem(self._own), 0o644)

    def issue(self, name, hosts=("127.0.0.1", "localhost"), client=False, valid=(-DAY, DAY)):
        """A certificate for a server on `hosts`, or of a client; the paths of certificate and key. `valid` is from when
        to when, seen from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        extensions = [(x509.ExtendedKeyUsage([purpose]), False)]
        if not client:
            extensions.append((x509.SubjectAlternativeName([_host(host) for host in hosts]), False))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key.public_key(), valid, extensions)
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                   serialization.NoEncryption())
        return self._file(f"{name}.pem", _pem(certificate), 0o644), self._file(f"{name}.key", secret, 0o600)

    def serving(self, name, **kw):
        """As `issue`, for a server in this process: `.context` is what it wraps its sockets by."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name, **kw))
        return types.SimpleNamespace(context=context)

    def _signed(self, subject, key, valid, extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
            .serial_number(x509.random_serial_number()).not_valid_before(now + valid[0]).not_valid_after(now + valid[1])
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())

    def _file(self, name, content, mode):
        path = self.directory / name
        path.write_bytes(content)
        path.chmod(mode)
        process.give_to_server(path)
        return path

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def _host(host):
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
