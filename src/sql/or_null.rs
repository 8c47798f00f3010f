//! `envelope_decrypt_or_null` and its `_text` pair: for roles that see a table, and not all of its values.

use crate::pg::call::row_function;
use crate::sql::values::{in_server_encoding, with_value};
use crate::values;

row_function!(envelope_decrypt_or_null_wrapper, |fcinfo| with_value(
    fcinfo,
    values::open_if_allowed
));
row_function!(envelope_decrypt_text_or_null_wrapper, |fcinfo| {
    with_value(fcinfo, |relation, context, sealed| {
        values::open_if_allowed(relation, context, sealed)?.map(in_server_encoding).transpose()
    })
});
