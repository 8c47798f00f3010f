//! The type `envelope.sealed`: bytes as in bytea, and text that means what it says. Binary input and output, comparison
//! and hashing are PostgreSQL's own for bytea.

use pgrx::pg_sys;

use crate::error::Result;
use crate::pg::call::{Arguments, row_function};
use crate::values;

row_function!(envelope_sealed_in_wrapper, |fcinfo| -> Result<Option<pg_sys::Datum>> {
    // SAFETY: the call's own information; the argument is declared cstring.
    let Some(text) = (unsafe { Arguments::of(fcinfo).cstring(0) }) else { return Ok(None) };
    Ok(Some(values::from_text(text.to_bytes())?.into_datum()))
});

row_function!(envelope_sealed_out_wrapper, |fcinfo| -> Result<Option<pg_sys::Datum>> {
    // SAFETY: the call's own information; the argument is declared envelope.sealed.
    let Some(value) = (unsafe { Arguments::of(fcinfo).varlena(0) }) else { return Ok(None) };
    Ok(Some(values::to_text(&value)?.into_datum()))
});

row_function!(envelope_sealed_from_text_wrapper, |fcinfo| -> Result<Option<pg_sys::Datum>> {
    // SAFETY: the call's own information; the argument is declared text.
    let Some(text) = (unsafe { Arguments::of(fcinfo).varlena(0) }) else { return Ok(None) };
    Ok(Some(values::from_text(&text)?.into_datum()))
});

row_function!(envelope_sealed_from_char_wrapper, |fcinfo| -> Result<Option<pg_sys::Datum>> {
    // SAFETY: the call's own information; the argument is declared bpchar.
    let Some(text) = (unsafe { Arguments::of(fcinfo).varlena(0) }) else { return Ok(None) };
    Ok(Some(values::from_text(without_padding(&text))?.into_datum()))
});

/// A char(n) without the blanks that fill it up, as PostgreSQL's own cast to text has it.
fn without_padding(text: &[u8]) -> &[u8] {
    let len = text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    &text[..len]
}
