"""Opens values of the PostgreSQL extension `envelope` outside PostgreSQL: format envelope/1."""

from .boundaries import Boundaries, open_boundaries
from .context import context_bytes, context_json, context_transit, row_context
from .errors import EnvelopeError
from .forms import decode, decode_text
from .keyring import Keyring
from .keys import kek_id, key_id
from .types import filled, unfilled
from .values import is_sealed, named_key, open_value
from .wraps import token_associated_data, token_wrap, unwrap_by_file, unwrap_by_token_key

__all__ = [
    "Boundaries", "EnvelopeError", "Keyring", "context_bytes", "context_json", "context_transit", "decode", "decode_text",
    "filled", "is_sealed", "kek_id", "key_id", "named_key", "open_boundaries", "open_value", "row_context",
    "token_associated_data", "token_wrap", "unfilled", "unwrap_by_file", "unwrap_by_token_key",
]
