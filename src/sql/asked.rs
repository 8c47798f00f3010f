//! `envelope_search` and its like: the terms and tokens to ask an index for.

use std::ffi::CStr;

use envelope::search::Kind;
use pgrx::pg_sys;

use crate::error::Result;
use crate::keyring::table::{self, ColumnIndex, Table};
use crate::pg::array;
use crate::pg::call::{self, Arguments, row_function};
use crate::pg::kept;
use crate::pg::varlena::VarlenaBuf;
use crate::sql::arguments::required;
use crate::sql::begin;
use crate::values::index::{self, Asked, Given, Op};

row_function!(envelope_search_wrapper, |fcinfo| kept_answer(fcinfo, &[0, 1, 2, 3], terms_of_value));
row_function!(envelope_search_tokens_wrapper, |fcinfo| {
    kept_answer(fcinfo, &[0, 1, 2, 3], tokens_of_value)
});
row_function!(envelope_search_range_wrapper, |fcinfo| {
    kept_answer(fcinfo, &[0, 1, 2, 3, 4], terms_of_range)
});
row_function!(envelope_search_range_tokens_wrapper, |fcinfo| {
    kept_answer(fcinfo, &[0, 1, 2, 3, 4], tokens_of_range)
});
row_function!(envelope_terms_asked_wrapper, |fcinfo| {
    kept_answer(fcinfo, &[0, 1, 2, 3, 4], |call| by_index(call, false, terms))
});
row_function!(envelope_term_asked_wrapper, |fcinfo| {
    kept_answer(fcinfo, &[0, 1, 2, 3, 4, 5], |call| {
        by_index(call, false, |table, index, asked| term(call, table, index, asked))
    })
});
row_function!(envelope_key_since_wrapper, key_since);
row_function!(envelope_tokens_asked_wrapper, |fcinfo| {
    kept_answer(fcinfo, &[0, 1, 2, 3, 4], |call| by_index(call, true, tokens))
});

/// A call with its first two arguments, `relation` and `column_name`.
struct Call<'a> {
    fcinfo: pg_sys::FunctionCallInfo,
    arguments: Arguments<'a>,
    table: Table,
    column: &'a CStr,
}

/// What a call answered last, and to what.
struct Kept {
    given: kept::Given,
    answer: Option<kept::Answer>,
}

/// As a filter it is called for every row: what the arguments at `places` give is kept for as long as they, the role and
/// what is known of the table stay the same. Not by the first call: that of a look-up by an index is the only one.
fn kept_answer(
    fcinfo: pg_sys::FunctionCallInfo,
    places: &[usize],
    answer: impl FnOnce(&Call<'_>) -> Result<Option<pg_sys::Datum>>,
) -> Result<Option<pg_sys::Datum>> {
    // SAFETY: the call's own information; the functions are declared with a name there.
    let (is_again, arguments, column) = unsafe {
        let arguments = Arguments::of(fcinfo);
        (call::is_again(fcinfo), arguments, arguments.name(1))
    };
    begin(fcinfo);
    let relation = required(arguments.oid(0), "relation")?;
    let column = required(column, "column_name")?;
    let table = table::get(relation)?;
    if !is_again {
        return answer(&Call { fcinfo, arguments, table, column });
    }
    // SAFETY: the call's own; nothing else is kept by these functions, and the places are each one's own.
    let kept = unsafe {
        let kept = kept::kept::<Kept>(fcinfo)
            .get_or_insert_with(|| Kept { given: kept::Given::of(fcinfo, places), answer: None });
        let is_same = !kept.given.are_new(arguments, places, table.number());
        if let Some(answer) = kept.answer.as_ref().filter(|_| is_same) {
            return Ok(answer.datum());
        }
        kept
    };
    // What fails leaves no answer behind.
    kept.answer = None;
    let made = answer(&Call { fcinfo, arguments, table, column })?;
    // SAFETY: an array, a bytea or NULL, just made.
    kept.answer = Some(unsafe { kept::Answer::copy_of(made) });
    Ok(made)
}

impl Call<'_> {
    /// The value at `at`; `None` for NULL.
    fn given(&self, at: usize) -> Option<Given> {
        // SAFETY: the call's own information, and its argument.
        unsafe {
            let kind = call::type_of_argument(self.fcinfo, at as i32);
            self.arguments.datum(at).map(|datum| Given::of(datum, kind))
        }
    }

    /// The only index that `fits`, and that `kind`, at `at`, names if it is not NULL.
    fn index(
        &self,
        at: usize,
        fits: impl Fn(&ColumnIndex, Option<&[u8]>) -> bool,
    ) -> Result<&ColumnIndex> {
        // SAFETY: declared text.
        let kind = unsafe { self.arguments.varlena(at) };
        let fits = |index: &ColumnIndex| fits(index, kind.as_deref());
        index::the_one(&self.table, self.column, "kind", fits, index::have_same_terms)
    }
}

fn is_named(index: &ColumnIndex, kind: Option<&[u8]>) -> bool {
    kind.is_none_or(|kind| index::is_named(index, kind))
}

fn is_ordered(index: &ColumnIndex) -> bool {
    Op::Less.is_for(index)
}

/// Where nothing is said, those of an equal value, if an index has them: the question is one of a whole value.
fn terms_of_value(call: &Call<'_>) -> Result<Option<pg_sys::Datum>> {
    let is_exact = |index: &ColumnIndex| index.rule.kind() == Kind::Exact;
    let has_exact = call.table.indexes(call.column).iter().any(is_exact);
    let index = call.index(3, |index, kind| {
        let is_meant =
            if kind.is_none() { is_exact(index) || !has_exact } else { is_named(index, kind) };
        !index.rule.is_tokens() && is_meant
    })?;
    let Some(given) = call.given(2) else { return Ok(None) };
    terms(&call.table, index, &Asked::Value(Op::of_kind(index.rule.kind()), &given))
}

/// `kind` may be a question, too: whether a text begins so is another one to the same index.
fn tokens_of_value(call: &Call<'_>) -> Result<Option<pg_sys::Datum>> {
    // SAFETY: declared text.
    let kind = unsafe { call.arguments.varlena(3) };
    let op = kind.as_deref().and_then(|kind| Op::named(kind).ok());
    let index = call.index(3, |index, kind| {
        let answers = op.is_some_and(|op| op.is_for(index));
        index.rule.is_tokens() && (answers || is_named(index, kind))
    })?;
    let op = op.filter(|op| op.is_for(index)).unwrap_or(Op::of_kind(index.rule.kind()));
    let Some(given) = call.given(2) else { return Ok(None) };
    tokens(&call.table, index, &Asked::Value(op, &given))
}

fn terms_of_range(call: &Call<'_>) -> Result<Option<pg_sys::Datum>> {
    let fits = |index: &ColumnIndex, kind: Option<&[u8]>| {
        is_ordered(index) && !index.rule.is_tokens() && is_named(index, kind)
    };
    let index = call.index(4, fits)?;
    let (low, high) = (call.given(2), call.given(3));
    terms(&call.table, index, &Asked::Range(low.as_ref(), high.as_ref()))
}

fn tokens_of_range(call: &Call<'_>) -> Result<Option<pg_sys::Datum>> {
    let fits = |index: &ColumnIndex, kind: Option<&[u8]>| {
        is_ordered(index) && index.rule.is_tokens() && is_named(index, kind)
    };
    let index = call.index(4, fits)?;
    let (low, high) = (call.given(2), call.given(3));
    tokens(&call.table, index, &Asked::Range(low.as_ref(), high.as_ref()))
}

/// The further arguments are `index_column`, `op` and `value`; the planner has seen to it that the index has tokens, or
/// terms, but anybody may call.
fn by_index(
    call: &Call<'_>,
    wants_tokens: bool,
    ask: impl FnOnce(&Table, &ColumnIndex, &Asked<'_>) -> Result<Option<pg_sys::Datum>>,
) -> Result<Option<pg_sys::Datum>> {
    // SAFETY: declared name and text.
    let (index_column, op) = unsafe { (call.arguments.name(2), call.arguments.varlena(3)) };
    let index_column = required(index_column, "index_column")?;
    let op = Op::named(&required(op, "op")?)?;
    let index = index::in_column(&call.table, call.column, index_column)?;
    if index.rule.is_tokens() != wants_tokens {
        return Err(index::no_answer(&call.table, index));
    }
    let Some(given) = call.given(4) else { return Ok(None) };
    ask(&call.table, index, &Asked::Value(op, &given))
}

fn terms(table: &Table, index: &ColumnIndex, asked: &Asked<'_>) -> Result<Option<pg_sys::Datum>> {
    let (terms, len) = index::terms(table, index, asked)?;
    Ok(Some(array::of_bytes(&terms, len)))
}

fn tokens(table: &Table, index: &ColumnIndex, asked: &Asked<'_>) -> Result<Option<pg_sys::Datum>> {
    Ok(Some(array::of_numbers(&index::tokens(table, index, asked)?)))
}

/// The last argument is `version`.
fn term(
    call: &Call<'_>,
    table: &Table,
    index: &ColumnIndex,
    asked: &Asked<'_>,
) -> Result<Option<pg_sys::Datum>> {
    let version = required(call.arguments.bigint(5), "version")?;
    let term = index::term(table, index, asked, version)?;
    Ok(term.map(VarlenaBuf::into_datum))
}

/// The arguments are `relation`, `column_name`, `index_column` and `versions`.
fn key_since(fcinfo: pg_sys::FunctionCallInfo) -> Result<Option<pg_sys::Datum>> {
    begin(fcinfo);
    // SAFETY: the call's own information; declared (regclass, name, name, bigint[]).
    let (relation, column, index_column, versions) = unsafe {
        let arguments = Arguments::of(fcinfo);
        let versions = arguments.datum(3).map(|versions| array::Numbers::of(versions));
        (arguments.oid(0), arguments.name(1), arguments.name(2), versions)
    };
    let table = table::get(required(relation, "relation")?)?;
    let (column, name) =
        (required(column, "column_name")?, required(index_column, "index_column")?);
    let versions = required(versions.as_ref().and_then(array::Numbers::plain), "versions")?;
    let index = index::in_column(&table, column, name)?;
    Ok(index::key_since(&table, index, versions)?.map(pg_sys::Datum::from))
}
