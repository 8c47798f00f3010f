//! Search: sets of tokens against each other.

use pgrx::pg_sys;

use crate::error::Result;
use crate::pg::array::Numbers;
use crate::pg::call::{Arguments, row_function};
use crate::pg::support::{Request, SetOperator, support_function};
use crate::values::index::{has_all, has_any};

row_function!(envelope_any_token_wrapper, |fcinfo| two_sets(fcinfo, has_any));
row_function!(envelope_all_tokens_wrapper, |fcinfo| two_sets(fcinfo, has_all));
// `@>` finds all rows where nothing is asked for, the function none.
support_function!(envelope_any_token_support_wrapper, |request| match request {
    Request::IndexCondition(index) => index.by_operator(SetOperator::Overlap, false),
    Request::Selectivity(rows) => rows.like(SetOperator::Overlap),
    _ => None,
});
support_function!(envelope_all_tokens_support_wrapper, |request| match request {
    Request::IndexCondition(index) => index.by_operator(SetOperator::Contains, true),
    Request::Selectivity(rows) => rows.like(SetOperator::Contains),
    _ => None,
});

/// The arguments are `stored` and `asked`. Nothing here may raise: the functions are leakproof.
fn two_sets(
    fcinfo: pg_sys::FunctionCallInfo,
    compare: fn(&Numbers<'_>, &Numbers<'_>) -> bool,
) -> Result<Option<pg_sys::Datum>> {
    // SAFETY: the call's own information; it is declared (bigint[], bigint[]) and strict.
    let sets = unsafe {
        let arguments = Arguments::of(fcinfo);
        let set = |at| arguments.datum(at).map(|set| Numbers::of(set));
        (set(0), set(1))
    };
    let (Some(stored), Some(asked)) = sets else { return Ok(None) };
    Ok(Some(pg_sys::Datum::from(compare(&stored, &asked))))
}
