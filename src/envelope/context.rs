//! Row contexts: what binds a sealed value to its column and row.
//!
//! `envelope/1 row,` then netstrings (<https://cr.yp.to/proto/netstrings.txt>) of the column's tag and of each bound
//! column. The length before each part makes the text unambiguous whatever the parts hold.

use std::fmt::Write;

/// What every row context starts with.
const ROW: &str = "envelope/1 row,";

/// The context of a value in the column `tag`, bound to `parts`: the texts of the bound columns in policy order.
pub fn row_context<S: AsRef<str>>(tag: &str, parts: impl IntoIterator<Item = S>) -> String {
    let mut context = String::from(ROW);
    push_netstring(&mut context, tag);
    for part in parts {
        push_netstring(&mut context, part.as_ref());
    }
    context
}

/// [`row_context`] in pieces, for whoever has no memory to spare: `put` is given all of its bytes, in order.
/// First the tag.
pub fn begin_row_context(put: &mut impl FnMut(&[u8]), tag: &str) {
    put(ROW.as_bytes());
    put_part(put, tag.as_bytes());
}

/// Then the UTF-8 text of each bound column.
pub fn put_part(put: &mut impl FnMut(&[u8]), text: &[u8]) {
    let mut digits = [0; 20];
    put(decimal(&mut digits, text.len() as u64));
    put(b":");
    put(text);
    put(b",");
}

/// `number` in decimal, at the end of `digits`.
pub fn decimal(digits: &mut [u8; 20], mut number: u64) -> &[u8] {
    let mut at = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        at -= 1;
        if number == 0 {
            break;
        }
    }
    digits.get(at..).unwrap_or_default()
}

/// Appends `<length of text in bytes>:<text>,`.
pub fn push_netstring(out: &mut String, text: &str) {
    // Writing to a String does not fail.
    let _ = write!(out, "{}:{text},", text.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_bytes() {
        let mut out = String::new();
        for text in ["", "hello world!", "ü"] {
            push_netstring(&mut out, text);
        }
        assert_eq!(out, "0:,12:hello world!,2:ü,");
    }

    #[test]
    fn pieces_make_the_same() {
        let long = "x".repeat(123_456);
        for parts in [vec![], vec!["42"], vec!["", "ü", long.as_str()]] {
            let mut pieces = Vec::new();
            let mut put = |bytes: &[u8]| pieces.extend_from_slice(bytes);
            begin_row_context(&mut put, "customers.ssn");
            parts.iter().for_each(|part| put_part(&mut put, part.as_bytes()));
            assert_eq!(pieces, row_context("customers.ssn", &parts).into_bytes());
        }
        assert_eq!(decimal(&mut [0; 20], u64::MAX), b"18446744073709551615");
        assert_eq!(decimal(&mut [0; 20], 0), b"0");
    }

    #[test]
    fn no_two_rows_share_a_context() {
        assert_eq!(row_context("ssn", ["42"]), "envelope/1 row,3:ssn,2:42,");
        let none: [&str; 0] = [];
        assert_ne!(row_context("ssn", ["4", "2"]), row_context("ssn", ["42"]));
        assert_ne!(row_context("ssn,2:42", none), row_context("ssn", ["42"]));
        assert_ne!(row_context("ssn", [""]), row_context("ssn", none));
    }
}
