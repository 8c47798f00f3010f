//! What a policy may say of a table as it is.

use std::ffi::CStr;

use envelope::header::peek_key_id;
use pgrx::pg_sys;

use super::{Wanted, default_tag, number};
use crate::catalog::rows::{self, Form, Former, PolicyRow};
use crate::catalog::shards;
use crate::catalog::write::random_uuid;
use crate::census::look;
use crate::error::{Error, PolicyError, Result};
use crate::keyring::table;
use crate::keyring::{self, users};
use crate::pg::encoding::{self, text};
use crate::pg::relation::{self, display_name};
use crate::pg::table_scan::Extent;
use crate::pg::{acl, attribute, column, kinds, lock, types};
use crate::values::ValueType;

/// Bytes of a tag: more than two names have.
const LONGEST_TAG: usize = 1024;
/// Columns that a value is bound to: a key has few.
const MOST_BOUND: usize = 32;
/// Pages that are read in some hundredths of a second.
const MOST_PAGES: u64 = 4096;
/// Bytes of a block.
const LONGEST_BLOCK: i32 = 65_536;

/// The policy that is asked for, in the place of the one `before`, or of one that has `ended`, without a former context.
/// An error when the table is not so that it can hold.
pub fn checked(
    wanted: &Wanted<'_>,
    before: Option<&PolicyRow>,
    ended: Option<&Former>,
) -> Result<PolicyRow> {
    let at = At { relation: wanted.relation };
    let others = rows::policies(wanted.relation)?;
    let others: Vec<&PolicyRow> =
        others.iter().filter(|other| other.column_name.as_c_str() != wanted.column).collect();
    let target = number(wanted.relation, wanted.column)?;
    for name in std::iter::once(wanted.column)
        .chain(wanted.source)
        .chain(wanted.bound.iter().map(|it| &**it))
    {
        require_utf8(name)?;
    }
    at.require_stored(wanted.column, target, "sealed")?;
    if others.iter().any(|other| bears(other, wanted.column)) {
        return Err(at.said_by_another(wanted.column));
    }
    let (mut value_type, mut value_typmod) = match &wanted.value_type {
        None => (pg_sys::InvalidOid, -1),
        Some(name) => types::named(name).ok_or(PolicyError::NoType)?,
    };
    match (wanted.form, wanted.source) {
        (Form::Source, None) => {
            return Err(Error::BadArgument("a policy of form 'source' needs a source".into()));
        }
        (Form::Source, Some(source)) => {
            let number = at.plain_source(wanted, source, &others)?;
            let is = attribute::type_of(wanted.relation, number);
            if value_type == pg_sys::InvalidOid {
                (value_type, value_typmod) = is;
            } else if value_type != is.0 {
                return Err(at.wrong_type(
                    source,
                    wanted.form,
                    types::display_name(value_type, value_typmod),
                ));
            }
            at.require_holds_sealed(wanted.column, wanted.form)?;
        }
        (_, Some(_)) => {
            return Err(Error::BadArgument("only a policy of form 'source' has a source".into()));
        }
        // Before the column becomes one of sealed values, it is one of what is to be sealed.
        (form, None) if attribute::type_of(wanted.relation, target).0 != value_type => {
            at.require_holds_sealed(wanted.column, form)?;
        }
        (_, None) => {}
    }
    if value_type != pg_sys::InvalidOid {
        let known = ValueType::known(value_type, value_typmod)?;
        let is_there = attribute::type_of(wanted.relation, target).0 == value_type
            || before.is_some_and(|before| before.value_type == value_type);
        if known.has_domain() && wanted.form != Form::Source && !is_there {
            at.require_owned(value_type, value_typmod)?;
        }
    }
    check_block(wanted.block, value_type)?;
    check_mask(wanted.mask.as_deref())?;
    let tag = match (&wanted.tag, before) {
        (Some(tag), _) => tag.clone(),
        (None, Some(before)) => before.tag.clone(),
        (None, None) => match ended {
            Some(ended) => ended.tag.clone(),
            None => default_tag(wanted.relation, wanted.column)?,
        },
    };
    if tag.is_empty() || tag.len() > LONGEST_TAG {
        return Err(Error::BadArgument(format!("tag must have 1 to {LONGEST_TAG} bytes")));
    }
    Ok(PolicyRow {
        id: random_uuid()?,
        relation: wanted.relation,
        column_name: wanted.column.to_owned(),
        tag,
        bound_columns: at.bound(wanted, &others)?,
        form: wanted.form,
        value_type,
        value_typmod,
        source: wanted.source.map(CStr::to_owned),
        block: wanted.block,
        mask: wanted.mask.clone(),
        former: None,
    })
}

/// 42710 when another column whose values are under the same keyring bears the tag. A partition tree has its
/// policies at its top, and so counts once. Where the table only opens with the keyring, as a copy does or a partition
/// that was detached, it may be given the tag that its values bear.
pub fn require_own_tag(policy: &PolicyRow, is_given: bool) -> Result<()> {
    let mut tables = vec![policy.relation];
    let links = rows::keyring_tables(policy.relation)?;
    for link in links.iter().filter(|link| link.seals || !is_given) {
        let links = rows::tables_of(link.keyring_id)?;
        for table in links.iter().filter_map(users::living_table) {
            tables.push(shards::root(table)?);
        }
    }
    for other in tables {
        for bears in rows::policies(other)? {
            let is_this = other == policy.relation && bears.column_name == policy.column_name;
            if bears.tag == policy.tag && !is_this {
                return Err(PolicyError::TagTaken {
                    tag: policy.tag.clone(),
                    column: text(&bears.column_name),
                    table: display_name(other),
                }
                .into());
            }
        }
    }
    Ok(())
}

/// Whether a column of the table, or of a partition or an heir of it, holds sealed values, or may where that cannot be
/// seen from here. Not while the table has never had a key. Of what others are writing nothing is seen, and it is sealed
/// as the column's policy was when they began: where it holds none nobody writes to it to the end of the transaction. Of a
/// table that takes long to read it is not asked, since that would keep them out for as long.
pub fn may_have_values(relation: pg_sys::Oid, column: &CStr) -> Result<bool> {
    let family = relation::family(relation, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
    let pages = family.iter().filter_map(|member| relation::pages(*member)).map(u64::from).sum();
    if MOST_PAGES < pages || !family.iter().all(|member| lock::try_keep_writers_out(*member)) {
        return Ok(true);
    }
    keyring::look_again();
    if table::get(relation)?.keyrings().next().is_none() {
        return Ok(false);
    }
    for member in family {
        let Some(number) = attribute::number(member, column) else { continue };
        let is_sealed = |head: &[u8]| peek_key_id(head).is_some();
        match look::find(member, &[number], Extent::Whole, is_sealed) {
            Ok(None) => {}
            Ok(Some(_)) | Err(Error::CannotLook { .. } | Error::RowsUnseen { .. }) => {
                return Ok(true);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether terms of values of the one are terms of values of the other.
pub fn is_same_type(one: &PolicyRow, other: &PolicyRow) -> bool {
    let of = |policy: &PolicyRow| match column::base_type(policy.value_type) {
        Some(pg_sys::NUMERICOID) => Some(kinds::base(policy.value_type, policy.value_typmod)),
        base => base.map(|base| (base, -1)),
    };
    of(one) == of(other)
}

/// The catalog holds names as UTF-8: one that is not, as can be in a SQL_ASCII database, would become another.
fn require_utf8(name: &CStr) -> Result<()> {
    encoding::to_exact_string(name.to_bytes())
        .map(|_| ())
        .map_err(|why| Error::NotUtf8 { untranslatable: why.is_untranslatable() })
}

fn check_block(block: Option<i32>, value_type: pg_sys::Oid) -> Result<()> {
    let Some(block) = block else { return Ok(()) };
    let kind = column::base_type(value_type).unwrap_or(pg_sys::InvalidOid);
    let takes_blocks =
        [pg_sys::TEXTOID, pg_sys::VARCHAROID, pg_sys::BPCHAROID, pg_sys::JSONOID, pg_sys::JSONBOID];
    if !(1..=LONGEST_BLOCK).contains(&block) {
        return Err(Error::BadArgument(format!("block must be 1 to {LONGEST_BLOCK} bytes")));
    }
    if block > 1 && !takes_blocks.contains(&kind) {
        let message =
            "only values of type text, varchar, char, json or jsonb have a block of one's choice";
        return Err(Error::BadArgument(message.into()));
    }
    Ok(())
}

fn check_mask(mask: Option<&str>) -> Result<()> {
    match mask {
        None | Some("last4") => Ok(()),
        Some(_) => Err(Error::BadArgument("mask must be 'last4' or NULL".into())),
    }
}

/// Whether `policy` has that column as its source, or binds to it.
fn bears(policy: &PolicyRow, column: &CStr) -> bool {
    policy.source.as_deref() == Some(column) || policy.bound_columns.contains(&text(column))
}

/// The table that a policy is about.
struct At {
    relation: pg_sys::Oid,
}

impl At {
    fn table(&self) -> String {
        display_name(self.relation)
    }

    fn is(&self, column: &CStr) -> String {
        let kind = attribute::number(self.relation, column)
            .map_or((pg_sys::InvalidOid, -1), |number| attribute::type_of(self.relation, number));
        types::display_name(kind.0, kind.1)
    }

    fn wrong_type(&self, column: &CStr, form: Form, needs: String) -> Error {
        let (is, table, column) = (self.is(column), self.table(), text(column));
        PolicyError::WrongType { column, table, is, form: form.name(), needs }.into()
    }

    fn said_by_another(&self, column: &CStr) -> Error {
        Error::BadArgument(format!(
            "column \"{}\" of table {} is the source of another policy, or bound by one",
            text(column),
            self.table()
        ))
    }

    /// The constraints of a domain run with the rights of whoever writes to the table. Its owner can have that done by
    /// a trigger; who may only manage its keys cannot.
    fn require_owned(&self, kind: pg_sys::Oid, modifier: i32) -> Result<()> {
        if acl::owns_relation(acl::current_role(), self.relation) {
            return Ok(());
        }
        let kind = types::display_name(kind, modifier);
        Err(PolicyError::DomainOfOthers { kind, table: self.table() }.into())
    }

    fn require_stored(&self, column: &CStr, number: i16, used: &'static str) -> Result<()> {
        if !attribute::is_generated(self.relation, number) {
            return Ok(());
        }
        Err(PolicyError::Generated { column: text(column), table: self.table(), used }.into())
    }

    /// Of the type that the form has; where plaintext has a column of its own, of either.
    fn require_holds_sealed(&self, column: &CStr, form: Form) -> Result<()> {
        let number = number(self.relation, column)?;
        let kind = attribute::type_of(self.relation, number).0;
        let is_bytea = column::base_type(kind) == Some(pg_sys::BYTEAOID);
        let (holds, needs) = match form {
            Form::Bytea => (is_bytea, "bytea"),
            Form::Sealed => (!is_bytea && column::is_sealable(kind), "envelope.sealed"),
            Form::Source => (column::is_sealable(kind), "envelope.sealed or bytea"),
        };
        if holds { Ok(()) } else { Err(self.wrong_type(column, form, needs.into())) }
    }

    fn plain_source(
        &self,
        wanted: &Wanted<'_>,
        source: &CStr,
        others: &[&PolicyRow],
    ) -> Result<i16> {
        let number = number(self.relation, source)?;
        self.require_stored(source, number, "the source of another")?;
        if source == wanted.column {
            return Err(Error::BadArgument("a column cannot be its own source".into()));
        }
        if others.iter().any(|other| bears(other, source) || other.column_name.as_c_str() == source)
        {
            return Err(self.said_by_another(source));
        }
        Ok(number)
    }

    fn bound(&self, wanted: &Wanted<'_>, others: &[&PolicyRow]) -> Result<Vec<String>> {
        if wanted.bound.len() > MOST_BOUND {
            return Err(Error::BadArgument(format!(
                "values can be bound to {MOST_BOUND} columns at most"
            )));
        }
        let mut names = Vec::new();
        for column in &wanted.bound {
            let number = number(self.relation, column)?;
            self.require_stored(column, number, "bound")?;
            let is_sealed = |other: &&PolicyRow| {
                other.column_name == *column || other.source.as_ref() == Some(column)
            };
            if column.as_c_str() == wanted.column
                || Some(column.as_c_str()) == wanted.source
                || others.iter().any(is_sealed)
            {
                let message = format!(
                    "values cannot be bound to column \"{}\", which is sealed itself",
                    text(column)
                );
                return Err(Error::BadArgument(message));
            }
            if !attribute::may_be_bound(attribute::type_of(self.relation, number).0) {
                let (column, table, is) = (text(column), self.table(), self.is(column));
                return Err(PolicyError::BoundType { column, table, is }.into());
            }
            if !attribute::is_not_null(self.relation, number) {
                let (column, table) = (text(column), self.table());
                return Err(PolicyError::BoundNullable { column, table }.into());
            }
            if names.contains(&text(column)) {
                return Err(Error::BadArgument("bind names a column twice".into()));
            }
            names.push(text(column));
        }
        Ok(names)
    }
}
