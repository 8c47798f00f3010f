//! Names of tables as nodes write them to each other: with their schema, quoted where SQL needs it. They are taken apart
//! without PostgreSQL, whose parser ends the statement where there is no name.

/// Schema and name, without quotes. What is not quoted is folded, as SQL does.
pub fn parts(text: &str) -> Option<(String, String)> {
    let (schema, rest) = identifier(text)?;
    let (name, rest) = identifier(rest.strip_prefix('.')?)?;
    rest.is_empty().then_some((schema, name))
}

/// The first identifier of `text`, and what follows.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !is_plain(c)).unwrap_or(text.len());
        let (plain, rest) = text.split_at(end);
        let begins_well = plain.starts_with(|c: char| !c.is_ascii_digit() && c != '$');
        return begins_well.then(|| (plain.to_ascii_lowercase(), rest));
    };
    let mut name = String::new();
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return (!name.is_empty()).then_some((name, rest)),
        }
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn names() {
        let both = |schema: &str, name: &str| Some((schema.to_string(), name.to_string()));
        assert_eq!(parts("public.cust"), both("public", "cust"));
        assert_eq!(parts("Public.\"Cust\""), both("public", "Cust"));
        assert_eq!(parts("\"a.\"\"b\".\"c d\""), both("a.\"b", "c d"));
        assert_eq!(parts("schöma.t_1$"), both("schöma", "t_1$"));
    }

    #[test]
    fn what_is_none() {
        for bad in [
            "", ".", "cust", "public.", ".cust", "a.b.c", "a.b ", " a.b", "a.\"b", "a.\"\"", "1.b",
            "a.$b", "a.b\"c\"", "a;b.c", "\"a\"b.c",
        ] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
