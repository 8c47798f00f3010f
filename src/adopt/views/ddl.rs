//! A view in words: the statements that make it.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::columns::{Column, Opened, Shows, Value};
use super::{Mask, Write};
use crate::catalog::rows::PolicyRow;
use crate::catalog::views;
use crate::error::{Error, Result};
use crate::pg::path::PlainPath;
use crate::pg::quote::Sql;
use crate::pg::relation::{self, display_name};
use crate::pg::{acl, attribute, column, encoding, types, view};

/// What all statements are about.
struct About {
    relation: pg_sys::Oid,
    /// Quoted, with their schemas.
    table: CString,
    view: CString,
    /// Where functions stand that queries use.
    functions: CString,
}

/// The statements that make the view `view` (quoted) of `relation`.
pub fn statements(
    relation: pg_sys::Oid,
    view: &CStr,
    write: Write,
    columns: &[Column],
) -> Result<Vec<Sql>> {
    // Names that PostgreSQL writes have their schema.
    let _path = PlainPath::new();
    let gone = || Error::NoRelation(display_name(relation));
    let about = About {
        relation,
        table: relation::quoted_cstring(relation).ok_or_else(gone)?,
        view: view.to_owned(),
        functions: views::functions_schema()?,
    };
    let mut statements = Vec::new();
    for opened in opened(columns).filter(|opened| opened.says_mask) {
        if let Some(policy) = &opened.policy {
            statements.push(about.set_mask(policy)?);
        }
    }
    statements.push(about.create_view(columns)?);
    if write == Write::Triggers {
        statements.extend(about.defaults(columns)?);
        statements.push(about.create_trigger(columns));
    }
    statements.extend(about.grants()?);
    Ok(statements.into_iter().map(|statement| statement.sql(";")).collect())
}

fn opened(columns: &[Column]) -> impl Iterator<Item = &Opened> {
    columns.iter().filter_map(|column| match &column.shows {
        Shows::Opened(opened) => Some(&**opened),
        Shows::Stored { .. } => None,
    })
}

impl About {
    fn create_view(&self, columns: &[Column]) -> Result<Sql> {
        let shown = columns.iter().map(|column| {
            let value = match &column.shows {
                Shows::Stored { number, .. } if self.column_name(*number)? == column.name => {
                    return self.stored(*number);
                }
                Shows::Stored { number, .. } => self.stored(*number)?,
                Shows::Opened(opened) => self.opened(opened)?,
            };
            Ok(value.sql(" AS ").name(&column.name))
        });
        let shown = shown.collect::<Result<Vec<_>>>()?;
        let options =
            if view::HAS_SECURITY_INVOKER { " WITH (security_invoker = true)" } else { "" };
        let head = Sql::new("CREATE VIEW ").quoted(&self.view).sql(options).sql(" AS\n  SELECT ");
        Ok(head.joined(&shown, ",\n         ").sql("\n  FROM ").quoted(&self.table).sql(" AS t"))
    }

    fn stored(&self, number: i16) -> Result<Sql> {
        Ok(Sql::new("t.").name(&self.column_name(number)?))
    }

    fn column_name(&self, number: i16) -> Result<CString> {
        column::raw_name(self.relation, number)
            .ok_or_else(|| Error::NoRelation(display_name(self.relation)))
    }

    /// A value opened, or what its mask shows.
    fn opened(&self, opened: &Opened) -> Result<Sql> {
        let (plain, or_null) = match opened.value {
            Value::Bytes => ("envelope_decrypt", "envelope_decrypt_or_null"),
            Value::Text => ("envelope_decrypt_text", "envelope_decrypt_text_or_null"),
            Value::Typed(..) => ("envelope_decrypt_as", "envelope_decrypt_as_or_null"),
        };
        let name = if opened.mask == Mask::Error { plain } else { or_null };
        let context = opened.policy.as_ref().map(|policy| self.context(policy)).transpose()?;
        let context = context.flatten();
        let mut arguments = vec![self.relation_argument(), self.stored(opened.sealed)?];
        let mut cast = None;
        if let Value::Typed(kind, modifier) = opened.value {
            arguments.push(Sql::new("NULL::").quoted(&type_name(kind, -1)?));
            // The form of a value is that of its type without a modifier.
            cast = (modifier >= 0).then(|| type_name(kind, modifier)).transpose()?;
        }
        arguments.extend(context.clone());
        let function = Sql::default().name(&self.functions).sql(".").sql(name);
        let mut value = function.sql("(").joined(&arguments, ", ").sql(")");
        if let Some(cast) = cast {
            value = value.sql("::").quoted(&cast);
        }
        match (&opened.policy, opened.mask) {
            (Some(policy), Mask::Last4) => {
                let name = Sql::default().literal(&policy.column_name);
                let mut arguments =
                    vec![self.relation_argument(), name, self.stored(opened.sealed)?];
                arguments.extend(context);
                let masked = Sql::new("envelope.masked(").joined(&arguments, ", ").sql(")");
                let text = Sql::new("COALESCE(").add(&value).sql("::pg_catalog.text, ");
                // The name among the arguments would give it that of names, "C".
                Ok(text.add(&masked).sql(" COLLATE pg_catalog.\"default\")"))
            }
            _ => Ok(value),
        }
    }

    /// The table whose keys a row's values are under: with partitions or heirs, the one that the row stands in.
    fn relation_argument(&self) -> Sql {
        if relation::may_have_heirs(self.relation) {
            Sql::new("t.tableoid::pg_catalog.regclass")
        } else {
            self.relation_literal()
        }
    }

    fn relation_literal(&self) -> Sql {
        Sql::default().literal(&self.table).sql("::pg_catalog.regclass")
    }

    /// The row context of a policy. It has the tag and not the column's name, so that a column which is renamed stays
    /// readable.
    fn context(&self, policy: &PolicyRow) -> Result<Option<Sql>> {
        if policy.bound_columns.is_empty() {
            return Ok(None);
        }
        let mut arguments = vec![Sql::default().literal(&server_text(&policy.tag, "tag")?)];
        for name in &policy.bound_columns {
            arguments.push(self.part(&server_text(name, "column")?)?);
        }
        let function = Sql::default().name(&self.functions).sql(".envelope_context(");
        Ok(Some(function.joined(&arguments, ", ").sql(")")))
    }

    /// The text of a bound column.
    fn part(&self, name: &CStr) -> Result<Sql> {
        let missing = || Error::NoSuchColumn {
            column: encoding::to_string(name.to_bytes()),
            table: display_name(self.relation),
        };
        let number = attribute::number(self.relation, name).ok_or_else(missing)?;
        let (kind, _) = attribute::type_of(self.relation, number);
        let value = self.stored(number)?;
        Ok(match column::base_type(kind) {
            Some(pg_sys::BYTEAOID) => Sql::new("pg_catalog.encode(").add(&value).sql(", 'hex')"),
            _ => value.sql("::pg_catalog.text"),
        })
    }

    /// Says of a policy that part of its values may be shown, and nothing else anew.
    fn set_mask(&self, policy: &PolicyRow) -> Result<Sql> {
        let mut sql = Sql::new("SELECT envelope.set_policy(")
            .add(&self.relation_literal())
            .sql(", ")
            .literal(&policy.column_name)
            .sql(", form => '")
            .sql(policy.form.name())
            .sql("'");
        if policy.value_type != pg_sys::InvalidOid {
            let name = type_name(policy.value_type, policy.value_typmod)?;
            sql = sql.sql(", value_type => ").literal(&name);
        }
        if let Some(source) = &policy.source {
            sql = sql.sql(", source => ").literal(source);
        }
        sql = sql.sql(", tag => ").literal(&server_text(&policy.tag, "tag")?);
        if !policy.bound_columns.is_empty() {
            let names = policy.bound_columns.iter();
            let names = names
                .map(|name| Ok(Sql::default().literal(&server_text(name, "column")?)))
                .collect::<Result<Vec<_>>>()?;
            sql = sql.sql(", bind => ARRAY[").joined(&names, ", ").sql("]::pg_catalog.name[]");
        }
        if let Some(block) = policy.block {
            sql = sql.sql(", block => ").sql(&block.to_string());
        }
        Ok(sql.sql(", mask => 'last4')"))
    }

    /// PostgreSQL gives a trigger of a view NULL for what a statement leaves out, unless the view has defaults.
    fn defaults(&self, columns: &[Column]) -> Result<Vec<Sql>> {
        let defaults = views::defaults(self.relation)?;
        let of = |number: i16| defaults.iter().find(|(of, _)| *of == number).map(|(_, sql)| sql);
        let with_default = columns.iter().filter_map(|column| match column.shows {
            Shows::Stored { number, has_default: true } => Some((&column.name, of(number)?)),
            _ => None,
        });
        let sql = with_default.map(|(name, default)| {
            Sql::new("ALTER VIEW ")
                .quoted(&self.view)
                .sql(" ALTER COLUMN ")
                .name(name)
                .sql(" SET DEFAULT ")
                .quoted(default)
        });
        Ok(sql.collect())
    }

    fn create_trigger(&self, columns: &[Column]) -> Sql {
        let named = columns.iter().filter_map(|column| match &column.shows {
            Shows::Opened(opened) => Some([&column.name, &opened.input, &opened.target]),
            Shows::Stored { .. } => None,
        });
        let arguments: Vec<Sql> =
            named.flatten().map(|name| Sql::default().literal(name)).collect();
        Sql::new("CREATE TRIGGER write_through INSTEAD OF INSERT OR UPDATE OR DELETE ON ")
            .quoted(&self.view)
            .sql("\n  FOR EACH ROW EXECUTE FUNCTION envelope.write_through(")
            .joined(&arguments, ", ")
            .sql(")")
    }

    /// The rights on the table, for the view.
    fn grants(&self) -> Result<Vec<Sql>> {
        let grants = views::grants(self.relation)?.into_iter();
        Ok(grants
            .filter_map(|(role, rights)| {
                let everybody = role == pg_sys::InvalidOid;
                let role = if everybody { c"PUBLIC".to_owned() } else { acl::quoted_role(role)? };
                let sql = Sql::new("GRANT ").quoted(&rights).sql(" ON ").quoted(&self.view);
                Some(sql.sql(" TO ").quoted(&role))
            })
            .collect())
    }
}

fn type_name(kind: pg_sys::Oid, modifier: i32) -> Result<CString> {
    let name = types::quoted(kind, modifier);
    name.ok_or_else(|| Error::BadArgument("the type of a policy's values is gone".into()))
}

/// Text of the catalog, in the server's encoding.
fn server_text(text: &str, what: &'static str) -> Result<CString> {
    let bytes = encoding::from_utf8(text.as_bytes()).map_err(|_| Error::Untranslatable(what))?;
    CString::new(&*bytes).map_err(|_| Error::Untranslatable(what))
}
