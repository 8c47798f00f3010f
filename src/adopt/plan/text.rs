//! SQL as text: names, constants, statements that are run as one.

/// A name, as it is and as SQL quotes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    pub plain: String,
    pub quoted: String,
}

/// The bytes of a name that PostgreSQL does not cut.
const LONGEST_NAME: usize = 63;

/// `head` and `tail` as one name: of a head that is too long the end is left out.
pub fn joined(head: &str, tail: &str) -> String {
    let mut end = head.len().min(LONGEST_NAME - tail.len());
    while !head.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{tail}", &head[..end])
}

/// A string constant that means the same whatever standard_conforming_strings says.
pub fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    match doubled.contains('\\') {
        true => format!("E'{}'", doubled.replace('\\', "\\\\")),
        false => format!("'{doubled}'"),
    }
}

/// An array constant of strings.
pub fn array<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let texts: Vec<_> = texts.into_iter().map(literal).collect();
    format!("ARRAY[{}]", texts.join(", "))
}

/// `statements` as one statement, which is one transaction where none is open.
pub fn as_one(statements: &[String]) -> String {
    let body: String = statements
        .iter()
        .map(|statement| match statement.strip_prefix("SELECT ") {
            Some(rest) => format!("  PERFORM {rest};\n"),
            None => format!("  {statement};\n"),
        })
        .collect();
    block("BEGIN", &body)
}

/// A statement that is an error of SQLSTATE `sqlstate` if `condition` holds of a row of `table`. The message is their number
/// and `complaint`.
pub fn raising(
    table: &str,
    condition: &str,
    sqlstate: &str,
    complaint: &str,
    hint: &str,
) -> String {
    let (complaint, hint) = (literal(&format!(" {complaint}")), literal(hint));
    block(
        // A column of the table may have the name of the variable.
        "#variable_conflict use_column\nDECLARE\n  met bigint;\nBEGIN",
        &format!(
            "  SELECT count(*) INTO met FROM {table} WHERE {condition};
  IF met > 0 THEN
    RAISE EXCEPTION USING ERRCODE = '{sqlstate}', MESSAGE = pg_catalog.concat(met, {complaint}), HINT = {hint};
  END IF;\n"
        ),
    )
}

fn block(head: &str, body: &str) -> String {
    let mut tag = String::from("envelope");
    while body.contains(&format!("${tag}$")) {
        tag.push('_');
    }
    let parting = if head.contains('\n') { '\n' } else { ' ' };
    format!("DO ${tag}${parting}{head}\n{body}END ${tag}$")
}

/// One ALTER TABLE of several changes.
pub fn alter_table(table: &str, changes: &[String]) -> String {
    format!("ALTER TABLE {table} {}", changes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_end_where_they_should() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
        assert_eq!(array(["a", "b'"]), "ARRAY['a', 'b''']");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let long = "é".repeat(31);
        assert_eq!(joined("ssn", "_sealed"), "ssn_sealed");
        assert_eq!(joined(&long, "_sealed"), format!("{}_sealed", "é".repeat(28)));
        assert_eq!(joined(&"a".repeat(63), "_sealed").len(), 63);
    }

    #[test]
    fn no_name_ends_the_body_of_a_do() {
        let text = as_one(&["ALTER TABLE \"$envelope$\" DROP a".into(), "SELECT f()".into()]);
        assert_eq!(
            text,
            "DO $envelope_$ BEGIN\n  ALTER TABLE \"$envelope$\" DROP a;\n  PERFORM f();\nEND $envelope_$"
        );
    }
}
