//! What a view shows: of one table, which of its columns as they are, and which by an expression.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::pg::attribute;
use crate::pg::datum::owned_cstring;
use crate::pg::path::PlainPath;

/// A view of one table.
pub struct View {
    pub table: pg_sys::Oid,
    pub columns: Vec<Column>,
}

/// A column of a view.
pub struct Column {
    /// As SQL that reads it from the table under the name [`ALIAS`]; all names in it have their schema.
    pub sql: CString,
    /// The table's column of that number, as it is; `None` for an expression.
    pub stored: Option<i16>,
    pub kind: pg_sys::Oid,
    /// PostgreSQL makes the column where a statement does not name it: generated, or of an identity.
    pub is_made: bool,
}

/// Whether views can leave rights and row security to their readers.
pub const HAS_SECURITY_INVOKER: bool = cfg!(not(feature = "pg14"));

/// What the table is called in a column's SQL.
pub const ALIAS: &CStr = c"t";

/// What `view` shows; `None` when it is no view, or not one of rows of one table as they are.
pub fn of(view: pg_sys::Oid) -> Option<View> {
    let _path = PlainPath::new();
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: the relation is open and locked while its query is read.
    unsafe {
        let opened = pg_sys::relation_open(view, lock);
        let is_view = (*(*opened).rd_rel).relkind as u8 == pg_sys::RELKIND_VIEW;
        let shown = if is_view { shown(pg_sys::get_view_query(opened)) } else { None };
        pg_sys::relation_close(opened, lock);
        shown
    }
}

/// # Safety
/// The query is a view's, and stays.
unsafe fn shown(query: *mut pg_sys::Query) -> Option<View> {
    // SAFETY: by contract; each node's tag says what it is, and lists hold as many as they count.
    unsafe {
        let query = query.as_ref()?;
        let is_plain = query.commandType == pg_sys::CmdType::CMD_SELECT
            && !query.hasAggs
            && !query.hasWindowFuncs
            && !query.hasTargetSRFs
            && query.setOperations.is_null()
            && query.cteList.is_null()
            && query.groupClause.is_null()
            && query.groupingSets.is_null()
            && query.distinctClause.is_null()
            && query.limitOffset.is_null()
            && query.limitCount.is_null();
        let from = query.jointree.as_ref()?.fromlist;
        if !is_plain || from.is_null() || (*from).length != 1 {
            return None;
        }
        let place = node::<pg_sys::RangeTblRef>(
            pg_sys::list_nth(from, 0).cast(),
            pg_sys::NodeTag::T_RangeTblRef,
        )?
        .rtindex;
        let entry =
            pg_sys::list_nth(query.rtable, place - 1).cast::<pg_sys::RangeTblEntry>().as_ref()?;
        if entry.rtekind != pg_sys::RTEKind::RTE_RELATION || !entry.tablesample.is_null() {
            return None;
        }
        let targets = query.targetList;
        let columns = (0..(*targets).length)
            .map(|at| pg_sys::list_nth(targets, at).cast::<pg_sys::TargetEntry>())
            .filter(|target| !(**target).resjunk)
            .map(|target| column(&*target, place, entry.relid))
            .collect::<Option<Vec<_>>>()?;
        Some(View { table: entry.relid, columns })
    }
}

/// # Safety
/// The target is one of a view's query, whose table stands at `place`.
unsafe fn column(
    target: &pg_sys::TargetEntry,
    place: std::ffi::c_int,
    table: pg_sys::Oid,
) -> Option<Column> {
    // SAFETY: by contract; what is changed is a copy.
    unsafe {
        let expression = target.expr.cast::<pg_sys::Node>();
        let stored = node::<pg_sys::Var>(expression, pg_sys::NodeTag::T_Var)
            .filter(|var| var.varno as i64 == i64::from(place) && var.varattno > 0)
            .map(|var| var.varattno);
        let copy = pg_sys::copyObjectImpl(expression.cast()).cast::<pg_sys::Node>();
        pg_sys::ChangeVarNodes(copy, place, 1, 0);
        let context = pg_sys::deparse_context_for(ALIAS.as_ptr(), table);
        let sql = owned_cstring(pg_sys::deparse_expression(copy, context, true, false))?;
        let is_made = stored.is_some_and(|number| attribute::is_made(table, number));
        Some(Column { sql, stored, kind: pg_sys::exprType(expression), is_made })
    }
}

/// # Safety
/// `node` is null or a node.
unsafe fn node<'a, T>(node: *mut pg_sys::Node, tag: pg_sys::NodeTag) -> Option<&'a T> {
    // SAFETY: by contract; the tag says that it is a T.
    unsafe { (!node.is_null() && (*node).type_ == tag).then(|| &*node.cast::<T>()) }
}
