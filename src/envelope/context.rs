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
    fn no_two_rows_share_a_context() {
        assert_eq!(row_context("ssn", ["42"]), "envelope/1 row,3:ssn,2:42,");
        let none: [&str; 0] = [];
        assert_ne!(row_context("ssn", ["4", "2"]), row_context("ssn", ["42"]));
        assert_ne!(row_context("ssn,2:42", none), row_context("ssn", ["42"]));
        assert_ne!(row_context("ssn", [""]), row_context("ssn", none));
    }
}
