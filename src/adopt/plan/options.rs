//! What `envelope.plan` is asked for: the keys of its options.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::indexes::OfIndex;
use crate::error::{Error, Result};

/// Of all columns, and of each that has more to say.
#[derive(Default, Debug)]
pub struct Options {
    pub online: Option<bool>,
    pub view: Option<String>,
    pub quiet: bool,
    pub batch_size: Option<i64>,
    common: OfColumn,
    columns: BTreeMap<String, OfColumn>,
}

/// Of one column.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct OfColumn {
    pub form: Option<String>,
    /// As SQL writes it, with a modifier.
    pub value_type: Option<String>,
    pub target: Option<String>,
    pub tag: Option<String>,
    pub bind: Option<Vec<String>>,
    pub block: Option<i32>,
    pub mask: Option<String>,
    pub indexes: Option<Vec<OfIndex>>,
}

/// Those that only one column can have.
const OF_ONE: [&str; 2] = ["target", "tag"];

impl Options {
    /// From JSON text; `columns` may have objects of their own.
    pub fn parse(json: &str, columns: &[String]) -> Result<Options> {
        let parsed: Value =
            serde_json::from_str(json).map_err(|_| bad("options", "a JSON object"))?;
        let Value::Object(entries) = parsed else { return Err(bad("options", "a JSON object")) };
        let (mut options, mut common) = (Options::default(), Map::new());
        for (key, value) in entries {
            match (key.as_str(), value) {
                (column, Value::Object(own)) if columns.iter().any(|name| name == column) => {
                    options.columns.insert(key, OfColumn::parse(&own)?);
                }
                ("online", value) => options.online = Some(boolean(&key, &value)?),
                ("view", value) => options.view = Some(text(&key, &value)?),
                ("quiet", value) => options.quiet = boolean(&key, &value)?,
                ("batch_size", value) => options.batch_size = Some(number(&key, &value)?.into()),
                (one, _) if OF_ONE.contains(&one) && columns.len() > 1 => {
                    return Err(Error::BadArgument(format!(
                        "option {one} is of one column: give it as {{\"column\": {{\"{one}\": …}}}}"
                    )));
                }
                (_, value) => {
                    common.insert(key, value);
                }
            }
        }
        options.common = OfColumn::parse(&common)?;
        Ok(options)
    }

    /// What holds for one column.
    pub fn of(&self, column: &str) -> OfColumn {
        let (own, all) =
            (self.columns.get(column).cloned().unwrap_or_default(), self.common.clone());
        OfColumn {
            form: own.form.or(all.form),
            value_type: own.value_type.or(all.value_type),
            target: own.target.or(all.target),
            tag: own.tag.or(all.tag),
            bind: own.bind.or(all.bind),
            block: own.block.or(all.block),
            mask: own.mask.or(all.mask),
            indexes: own.indexes.or(all.indexes),
        }
    }
}

impl OfColumn {
    fn parse(entries: &Map<String, Value>) -> Result<OfColumn> {
        let mut of = OfColumn::default();
        for (key, value) in entries {
            match key.as_str() {
                "form" => of.form = Some(text(key, value)?),
                "type" => of.value_type = Some(text(key, value)?),
                "target" => of.target = Some(text(key, value)?),
                "tag" => of.tag = Some(text(key, value)?),
                "mask" => of.mask = Some(text(key, value)?),
                "block" => of.block = Some(number(key, value)?),
                "bind" => of.bind = Some(texts(key, value)?),
                "indexes" => of.indexes = Some(OfIndex::parse_all(value)?),
                _ => {
                    return Err(Error::BadArgument(
                        "options has a key that is none of form, online, bind, tag, block, mask, type, target, indexes, \
                         view, quiet, batch_size, nor a column of the plan with an object of its own"
                            .into(),
                    ));
                }
            }
        }
        Ok(of)
    }
}

fn text(key: &str, value: &Value) -> Result<String> {
    match value.as_str() {
        Some(text) if !text.is_empty() && !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(bad_option(key, "a string")),
    }
}

fn texts(key: &str, value: &Value) -> Result<Vec<String>> {
    let all = value.as_array().ok_or_else(|| bad_option(key, "an array of strings"))?;
    all.iter().map(|one| text(key, one)).collect()
}

fn boolean(key: &str, value: &Value) -> Result<bool> {
    value.as_bool().ok_or_else(|| bad_option(key, "true or false"))
}

fn number(key: &str, value: &Value) -> Result<i32> {
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    number.filter(|number| *number > 0).ok_or_else(|| bad_option(key, "a number of 1 or more"))
}

fn bad_option(key: &str, what: &str) -> Error {
    bad(&format!("option {key}"), what)
}

fn bad(what: &str, must: &str) -> Error {
    Error::BadArgument(format!("{what} must be {must}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Options> {
        Options::parse(json, &["ssn".into(), "card".into()])
    }

    #[test]
    fn a_columns_own_options_come_first() -> Result<()> {
        let options = parse(
            r#"{"bind": ["id"], "online": true, "ssn": {"tag": "t", "bind": [], "block": 16}}"#,
        )?;
        assert_eq!(options.online, Some(true));
        let ssn = OfColumn {
            tag: Some("t".into()),
            bind: Some(vec![]),
            block: Some(16),
            ..OfColumn::default()
        };
        assert_eq!(options.of("ssn"), ssn);
        let card = OfColumn { bind: Some(vec!["id".into()]), ..OfColumn::default() };
        assert_eq!(options.of("card"), card);
        Ok(())
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for json in [
            "[]",
            "{",
            r#"{"onlin": true}"#,
            r#"{"online": "yes"}"#,
            r#"{"other": {"tag": "t"}}"#,
            r#"{"ssn": {"online": true}}"#,
            r#"{"ssn": {"block": 0}}"#,
            r#"{"tag": "t"}"#,
            r#"{"target": "t"}"#,
            r#"{"bind": "id"}"#,
            r#"{"view": ""}"#,
        ] {
            assert!(matches!(parse(json), Err(Error::BadArgument(_))), "{json}");
        }
    }
}
