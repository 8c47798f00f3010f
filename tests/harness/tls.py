"""A certificate for 127.0.0.1, signed by itself, for endpoints that speak TLS."""

import datetime
import ipaddress
import pathlib
import ssl
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificate:
    """`path` is what a client is to trust: give it to a server as SSL_CERT_FILE. While in its `with` block."""

    def __init__(self):
        # Not below pytest's own directory, which the server's user may not enter.
        self._directory = tempfile.TemporaryDirectory(prefix="envelope-tls-", dir="/tmp")
        directory = pathlib.Path(self._directory.name)
        directory.chmod(0o755)
        self.path = directory / "certificate.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .sign(key, hashes.SHA256())
        )
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        secret = directory / "key.pem"
        secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                             serialization.NoEncryption()))
        self.path.chmod(0o644)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.path, secret)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._directory.cleanup()
