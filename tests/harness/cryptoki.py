"""Calls of PKCS#11 that make tokens and keys for tests: run as a program of the server's user, since a token's files
are his who makes them. Standard library only: `python3 cryptoki.py MODULE ACTION [JSON]`."""

import ctypes
import json
import sys

# In the order of CK_FUNCTION_LIST (PKCS#11 2.40, section 3.6).
NAMES = """Initialize Finalize GetInfo GetFunctionList GetSlotList GetSlotInfo GetTokenInfo GetMechanismList
GetMechanismInfo InitToken InitPIN SetPIN OpenSession CloseSession CloseAllSessions GetSessionInfo GetOperationState
SetOperationState Login Logout CreateObject CopyObject DestroyObject GetObjectSize GetAttributeValue SetAttributeValue
FindObjectsInit FindObjects FindObjectsFinal EncryptInit Encrypt EncryptUpdate EncryptFinal DecryptInit Decrypt
DecryptUpdate DecryptFinal DigestInit Digest DigestUpdate DigestKey DigestFinal SignInit Sign SignUpdate SignFinal
SignRecoverInit SignRecover VerifyInit Verify VerifyUpdate VerifyFinal VerifyRecoverInit VerifyRecover
DigestEncryptUpdate DecryptDigestUpdate SignEncryptUpdate DecryptVerifyUpdate GenerateKey""".split()

# Attributes (CKA_), by the names that tests use.
ATTRIBUTES = {"class": 0x0, "token": 0x1, "private": 0x2, "label": 0x3, "key_type": 0x100, "id": 0x102,
              "sensitive": 0x103, "encrypt": 0x104, "decrypt": 0x105, "wrap": 0x106, "unwrap": 0x107,
              "value_len": 0x161, "value": 0x11, "extractable": 0x162, "modifiable": 0x170}
CKO_SECRET_KEY, CKK_AES, CKK_GENERIC_SECRET = 4, 0x1F, 0x10
CKM_AES_KEY_GEN, CKM_GENERIC_SECRET_KEY_GEN = 0x1080, 0x350
CKU_SO, CKU_USER = 0, 1
# Serial and for writing too.
SESSION_FLAGS = 6

Ulong = ctypes.c_ulong


class Attribute(ctypes.Structure):
    _fields_ = [("type", Ulong), ("value", ctypes.c_void_p), ("length", Ulong)]


class Mechanism(ctypes.Structure):
    _fields_ = [("mechanism", Ulong), ("parameter", ctypes.c_void_p), ("length", Ulong)]


class FunctionList(ctypes.Structure):
    _fields_ = [("version", ctypes.c_ubyte * 2), *((name, ctypes.c_void_p) for name in NAMES)]


def bytes_of(value):
    if isinstance(value, bool):
        return bytes([value])
    if isinstance(value, int):
        return bytes(Ulong(value))
    return value.encode()


def template(attributes):
    """The attributes as C sees them, and what must live as long."""
    buffers = [ctypes.create_string_buffer(bytes_of(v), len(bytes_of(v))) for v in attributes.values()]
    made = [Attribute(ATTRIBUTES[name], ctypes.addressof(b), len(b)) for name, b in zip(attributes, buffers)]
    return (Attribute * len(made))(*made), buffers


class Module:
    def __init__(self, path):
        library = ctypes.CDLL(path)
        functions = ctypes.POINTER(FunctionList)()
        assert library.C_GetFunctionList(ctypes.byref(functions)) == 0
        self.functions = functions.contents
        self("Initialize", None)

    def __call__(self, name, *arguments):
        function = ctypes.CFUNCTYPE(Ulong)(getattr(self.functions, name))
        code = function(*arguments)
        if code:
            raise SystemExit(f"C_{name} answered 0x{code:x}")

    def slots(self):
        count = Ulong()
        self("GetSlotList", 1, None, ctypes.byref(count))
        slots = (Ulong * count.value)()
        self("GetSlotList", 1, slots, ctypes.byref(count))
        return list(slots[:count.value])

    def label(self, slot):
        # CK_TOKEN_INFO begins with the label, 32 bytes padded with blanks.
        info = ctypes.create_string_buffer(256)
        self("GetTokenInfo", Ulong(slot), info)
        return info.raw[:32].decode().rstrip()

    def slot_of(self, label):
        return next(slot for slot in self.slots() if self.label(slot) == label)

    def session(self, label, pin, user=CKU_USER):
        session = Ulong()
        self("OpenSession", Ulong(self.slot_of(label)), Ulong(SESSION_FLAGS), None, None, ctypes.byref(session))
        self("Login", session, Ulong(user), pin.encode(), Ulong(len(pin)))
        return session

    def objects(self, session, wanted):
        made, kept = template(wanted)
        self("FindObjectsInit", session, made, Ulong(len(made)))
        found, count = (Ulong * 100)(), Ulong()
        self("FindObjects", session, found, Ulong(100), ctypes.byref(count))
        self("FindObjectsFinal", session)
        del kept
        return [Ulong(handle) for handle in found[:count.value]]


def init(module, label, so_pin, pin, slot=None):
    """A token in a slot that has none yet: the last, where the module keeps an empty one."""
    slot = module.slots()[-1] if slot is None else slot
    module("InitToken", Ulong(slot), so_pin.encode(), Ulong(len(so_pin)), label.ljust(32).encode())
    session = module.session(label, so_pin, CKU_SO)
    module("InitPIN", session, pin.encode(), Ulong(len(pin)))


def generate(module, token, pin, attributes, key_type="aes"):
    """A secret key with these attributes."""
    session = module.session(token, pin)
    made, kept = template({"token": True, **attributes})
    mechanism = Mechanism(CKM_AES_KEY_GEN if key_type == "aes" else CKM_GENERIC_SECRET_KEY_GEN, None, 0)
    module("GenerateKey", session, ctypes.byref(mechanism), made, Ulong(len(made)), ctypes.byref(Ulong()))
    del kept


def create(module, token, pin, value, attributes):
    """An AES key of bytes that are known (hex), so that another implementation can open what it wraps."""
    session = module.session(token, pin)
    known = {"class": CKO_SECRET_KEY, "key_type": CKK_AES, "token": True, **attributes}
    made, kept = template(known)
    raw = ctypes.create_string_buffer(bytes.fromhex(value), len(value) // 2)
    whole = (Attribute * (len(made) + 1))(*made, Attribute(ATTRIBUTES["value"], ctypes.addressof(raw), len(raw)))
    module("CreateObject", session, whole, Ulong(len(whole)), ctypes.byref(Ulong()))
    del kept


def change(module, token, pin, label, attributes):
    """Sets attributes of all objects of this label."""
    session = module.session(token, pin)
    made, kept = template(attributes)
    for handle in module.objects(session, {"label": label}):
        module("SetAttributeValue", session, handle, made, Ulong(len(made)))
    del kept


def destroy(module, token, pin, label):
    """Takes all objects of this label away."""
    session = module.session(token, pin)
    for handle in module.objects(session, {"label": label}):
        module("DestroyObject", session, handle)


def set_pin(module, token, pin, new):
    session = module.session(token, pin)
    module("SetPIN", session, pin.encode(), Ulong(len(pin)), new.encode(), Ulong(len(new)))


ACTIONS = {f.__name__: f for f in (init, generate, create, change, destroy, set_pin)}

if __name__ == "__main__":
    loaded = Module(sys.argv[1])
    ACTIONS[sys.argv[2]](loaded, **json.loads(sys.argv[3]))
    loaded("Finalize", None)
