"""Every provider with a server that the suite can start."""

import os

from .aws import LocalStack, Moto
from .file import File
from .kmip import PyKmip
from .pkcs11 import Kryoptic, SoftHsm
from .provider import Provider
from .vault import OpenBao

# In `make test`, and beside them in `make test-kms`.
QUICK = (File, Moto, OpenBao, SoftHsm)
SLOW = (LocalStack, Kryoptic, PyKmip)
CHOSEN = QUICK + SLOW if os.environ.get("ENVELOPE_KMS") == "all" else QUICK

__all__ = ["CHOSEN", "QUICK", "SLOW", "LocalStack", "Provider"]
