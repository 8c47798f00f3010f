//! `envelope_matches`: whether a sealed value is what is asked for, and by which index the planner finds such rows.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::catalog::shards;
use crate::error::{Error, Result, SearchError};
use crate::keyring;
use crate::keyring::table::{self, Table};
use crate::pg::call::{self, Arguments, row_function};
use crate::pg::kept;
use crate::pg::report::raise;
use crate::pg::support::{Argument, Condition, Node, Request, Simplify, support_function};
use crate::pg::{attribute, column, encoding, kinds, relation};
use crate::sql::arguments::required;
use crate::sql::begin;
use crate::sql::values::with_context;
use crate::values;
use crate::values::index::{self, Given, Op, Recheck, Way};

/// Where the arguments of `envelope_matches` stand.
mod at {
    pub const RELATION: usize = 0;
    pub const COLUMN: usize = 1;
    pub const SEALED: usize = 2;
    pub const INDEX_COLUMN: usize = 3;
    pub const OP: usize = 4;
    pub const VALUE: usize = 5;
    pub const CONTEXT: usize = 6;
    pub const INDEX_NAME: usize = 7;
}

row_function!(envelope_matches_wrapper, |fcinfo| {
    let has_tokens = || {
        // SAFETY: the call's own information.
        let kind = unsafe { call::type_of_argument(fcinfo, at::INDEX_COLUMN as i32) };
        kinds::base(kind, -1).0 == pg_sys::INT8ARRAYOID
    };
    matches(fcinfo, [at::OP, at::VALUE, at::CONTEXT, at::INDEX_NAME], has_tokens)
});
row_function!(envelope_recheck_wrapper, |fcinfo| {
    // Declared with any type there, and anybody may call it.
    // SAFETY: the call's own information.
    let kind = unsafe { call::type_of_argument(fcinfo, at::SEALED as i32) };
    if !column::is_sealable(kind) {
        let message = "sealed must be of type bytea or envelope.sealed";
        return Err(Error::BadArgument(message.into()));
    }
    matches(fcinfo, [4, 5, 6, 3], || false)
});
support_function!(envelope_matches_support_wrapper, |request| match request {
    Request::Simplify(call) => by_index(&call).unwrap_or_else(|error| raise(error.into())),
    _ => None,
});
support_function!(envelope_recheck_support_wrapper, |request| match request {
    // Those for which it is not true were left out before.
    Request::Selectivity(rows) => rows.all(),
    _ => None,
});

/// A question, and for which arguments it was put together.
struct Kept {
    given: kept::Given,
    question: Option<Recheck>,
}

/// The first three arguments are `relation`, `column_name` and the sealed value; where the others stand is given.
fn matches(
    fcinfo: pg_sys::FunctionCallInfo,
    [op, value, context, index_name]: [usize; 4],
    has_tokens: impl Fn() -> bool,
) -> Result<Option<pg_sys::Datum>> {
    // SAFETY: the call's own information; declared (regclass, name, a sealed value, ...).
    let (is_again, arguments, column, sealed) = unsafe {
        let arguments = Arguments::of(fcinfo);
        let (column, sealed) = (arguments.name(at::COLUMN), arguments.varlena(at::SEALED));
        (call::is_again(fcinfo), arguments, column, sealed)
    };
    begin(fcinfo);
    let column = required(column, "column_name")?;
    with_context(arguments, context, |relation, context| {
        let table = table::get(relation)?;
        let ask = || {
            // SAFETY: declared text and name; a value of the type that the call has there.
            let (op, index_name, value) = unsafe {
                let kind = call::type_of_argument(fcinfo, value as i32);
                let value = arguments.datum(value).map(|datum| Given::of(datum, kind));
                (arguments.varlena(op), arguments.name(index_name), value)
            };
            let op = Op::named(&required(op, "op")?)?;
            let Some(value) = value else { return Ok(None) };
            Recheck::new(&table, column, index_name, has_tokens(), op, &value).map(Some)
        };
        let answer = |question: Option<&Recheck>| {
            let (Some(question), Some(sealed)) = (question, &sealed) else { return Ok(None) };
            let matches =
                values::open_for(relation, context, sealed, |form| question.matches(form))?;
            Ok(Some(pg_sys::Datum::from(matches)))
        };
        // Of a look-up the first row is the only one.
        if !is_again {
            return answer(ask()?.as_ref());
        }
        let places = [at::RELATION, at::COLUMN, op, value, index_name];
        // SAFETY: the call's own; nothing else is kept by these functions, and the places are each one's own.
        let kept = unsafe {
            let kept = kept::kept::<Kept>(fcinfo).get_or_insert_with(|| Kept {
                given: kept::Given::of(fcinfo, &places),
                question: None,
            });
            if kept.given.are_new(arguments, &places, table.number()) {
                kept.question = None;
            }
            kept
        };
        if kept.question.is_none() {
            kept.question = ask()?;
        }
        answer(kept.question.as_ref())
    })
}

/// The call as the condition of an index column that every index of PostgreSQL's reads, and the recheck of what it finds.
/// The condition gives nothing away, so that it is the index's under row security, too. An error where a column of the
/// table stands there that is another one: no row would match, or all be opened.
fn by_index(call: &Simplify<'_>) -> Result<Option<Node>> {
    let (Some(relation), Some(column)) = (call.oid(at::RELATION), call.name(at::COLUMN)) else {
        return Ok(None);
    };
    keyring::begin_statement(None);
    let Ok(table) = table::get(relation) else { return Ok(None) };
    require_its_columns(call, &table, relation, column)?;
    Ok(condition(call, &table, relation, column))
}

fn condition(
    call: &Simplify<'_>,
    table: &Table,
    relation: pg_sys::Oid,
    column: &CStr,
) -> Option<Node> {
    let op = Op::named(&call.text(at::OP)?).ok()?;
    let index_column = index_column(call, relation)?;
    if !call.is_steady(at::VALUE) || call.is_null(at::VALUE) {
        return None;
    }
    // Of another row's terms the question is not.
    if !call.are_of_one_row(at::SEALED, at::INDEX_COLUMN) {
        return None;
    }
    call.depends_on(index::catalog_table().ok()?);
    let index = index::in_column(table, column, &index_column).ok()?;
    let versions = index::planned_versions(table, index);
    if versions.is_some() {
        index::catalog_tables_of_keys().ok()?.into_iter().for_each(|table| call.depends_on(table));
    }
    let condition = match index::way(index, op)? {
        Way::Terms => match &versions {
            Some(versions) => Condition::AnyEqualOf {
                function: c"envelope.term_asked",
                since: (c"envelope.key_since", 3),
                versions,
            },
            None => Condition::AnyEqual(c"envelope.terms_asked"),
        },
        Way::AllTokens => Condition::Sets {
            condition: c"envelope.all_tokens",
            function: c"envelope.tokens_asked",
        },
        Way::AnyToken => {
            Condition::Sets { condition: c"envelope.any_token", function: c"envelope.tokens_asked" }
        }
    };
    let (same, name) = (Argument::Same, Argument::Name(&index_column));
    let asked = [same(at::RELATION), same(at::COLUMN), name, same(at::OP), same(at::VALUE)];
    let rechecked = [
        same(at::RELATION),
        same(at::COLUMN),
        same(at::SEALED),
        name,
        same(at::OP),
        same(at::VALUE),
        same(at::CONTEXT),
    ];
    call.split(at::INDEX_COLUMN, condition, &asked, c"envelope.recheck", &rechecked)
}

/// An error where an argument is a column of the table, and not the one that belongs to `column`.
fn require_its_columns(
    call: &Simplify<'_>,
    table: &Table,
    relation: pg_sys::Oid,
    column: &CStr,
) -> Result<()> {
    let error = |argument, is: &CStr| {
        let text = |name: &CStr| encoding::to_string(name.to_bytes());
        let indexes = table.indexes(column).iter().map(|index| text(&index.index_column)).collect();
        let (is, column, table) = (text(is), text(column), table.name());
        Error::from(SearchError::OtherColumn { argument, is, column, table, indexes })
    };
    let of_table = |at| its_column(call, at, relation).map(|(name, _)| name);
    if let Some(is) = of_table(at::SEALED).filter(|is| is.as_c_str() != column) {
        return Err(error("sealed", &is));
    }
    let has_terms = |name: &CStr| {
        table.indexes(column).iter().any(|index| index.index_column.as_c_str() == name)
    };
    match of_table(at::INDEX_COLUMN).filter(|is| !has_terms(is)) {
        Some(is) if !table.indexes(column).is_empty() => Err(error("index_column", &is)),
        // Without any index the question is an error by itself.
        _ => Ok(()),
    }
}

/// The name and the type of the argument, if it is a column of the table, a partition of it, or of the table that it is
/// one of.
fn its_column(
    call: &Simplify<'_>,
    at: usize,
    relation: pg_sys::Oid,
) -> Option<(CString, pg_sys::Oid)> {
    let column = call.column(at)?;
    let is_its = column.relation == relation
        || matches!((shards::root(column.relation), shards::root(relation)), (Ok(one), Ok(other)) if one == other);
    let name = attribute::name(column.relation, column.number).filter(|_| is_its)?;
    Some((name, column.kind))
}

/// The name of the index column, if it is one of the table's.
fn index_column(call: &Simplify<'_>, relation: pg_sys::Oid) -> Option<CString> {
    let (name, kind) = its_column(call, at::INDEX_COLUMN, relation)?;
    let from = call.column(at::INDEX_COLUMN)?.relation;
    // What stands in its heirs is kept by their own triggers, or by none.
    if relation::may_have_heirs(from) && !relation::is_partitioned(from) {
        return None;
    }
    let has_type = [pg_sys::BYTEAOID, pg_sys::INT8ARRAYOID].contains(&kind);
    let is_named = match call.name(at::INDEX_NAME) {
        Some(index_name) => index_name == name.as_c_str(),
        None => call.is_null(at::INDEX_NAME),
    };
    (is_named && has_type).then_some(name)
}
