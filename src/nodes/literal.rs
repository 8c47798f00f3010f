//! Text in the SQL for another node.

/// `text` as a literal that means the same under every setting of the other server. NUL is in no text of PostgreSQL's.
pub fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_it_early() {
        assert_eq!(literal(r"a'b\c"), r"E'a''b\\c'");
        assert_eq!(literal(r"\'; --"), r"E'\\''; --'");
        assert_eq!(literal(""), "E''");
    }
}
