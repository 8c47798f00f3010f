//! A call that the planner lets be replaced by another expression of the same value.
//!
//! Nothing of the call is changed: its arguments are copied into what takes its place, so that each is planned once where
//! it stands.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::answer::{Node, function, named};
use crate::pg::varlena::Varlena;
use crate::pg::{array, kinds};

/// See [`super::Request::Simplify`].
pub struct Simplify<'a>(&'a pg_sys::SupportRequestSimplify);

/// A column of a table of the query.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub relation: pg_sys::Oid,
    pub number: i16,
    pub kind: pg_sys::Oid,
}

/// A condition by which an index finds the rows for which the call may be true.
#[derive(Clone, Copy)]
pub enum Condition<'a> {
    /// `column = ANY (function(...))`, of bytea.
    AnyEqual(&'a CStr),
    /// `column = ANY (ARRAY[function(..., version), ..., function(..., since(..., versions))])`, of bytea: other than of an
    /// array that a function gives, the planner knows how many elements it has. `since` has the first arguments alone.
    AnyEqualOf { function: &'a CStr, since: (&'a CStr, usize), versions: &'a [i64] },
    /// `condition(column, function(...))`
    Sets { condition: &'a CStr, function: &'a CStr },
}

/// An argument of a call that takes another's place.
#[derive(Clone, Copy)]
pub enum Argument<'a> {
    /// The argument of the call at that place.
    Same(usize),
    /// A constant name.
    Name(&'a CStr),
    /// A constant bigint[].
    Numbers(&'a [i64]),
}

impl<'a> Simplify<'a> {
    pub(super) fn of(request: &'a pg_sys::SupportRequestSimplify) -> Simplify<'a> {
        Simplify(request)
    }

    fn argument(&self, at: usize) -> Option<*mut pg_sys::Node> {
        // SAFETY: the planner's call, whose arguments are a list of expressions.
        unsafe {
            let arguments = self.0.fcall.as_ref()?.args.as_ref()?;
            let count = usize::try_from(arguments.length).ok()?;
            (at < count).then(|| pg_sys::list_nth(arguments, at as i32).cast())
        }
    }

    /// The argument at `at`, if it is a constant, and not NULL.
    fn constant(&self, at: usize) -> Option<&pg_sys::Const> {
        let node = self.argument(at)?;
        // SAFETY: an expression, whose tag says what it is.
        unsafe {
            let is_constant = (*node).type_ == pg_sys::NodeTag::T_Const;
            let constant = is_constant.then(|| &*node.cast::<pg_sys::Const>());
            constant.filter(|constant| !constant.constisnull)
        }
    }

    /// Whether it is a constant NULL.
    pub fn is_null(&self, at: usize) -> bool {
        let node = self.argument(at);
        // SAFETY: as above.
        node.is_some_and(|node| unsafe {
            (*node).type_ == pg_sys::NodeTag::T_Const && (*node.cast::<pg_sys::Const>()).constisnull
        })
    }

    /// A constant OID, or what is stored as one is.
    pub fn oid(&self, at: usize) -> Option<pg_sys::Oid> {
        self.constant(at).map(|constant| pg_sys::Oid::from(constant.constvalue.value() as u32))
    }

    /// A constant of type name.
    pub fn name(&self, at: usize) -> Option<&CStr> {
        let constant =
            self.constant(at).filter(|constant| constant.consttype == pg_sys::NAMEOID)?;
        // SAFETY: a name is NUL-terminated.
        Some(unsafe { CStr::from_ptr(constant.constvalue.cast_mut_ptr()) })
    }

    /// A constant of type text.
    pub fn text(&self, at: usize) -> Option<Varlena<'_>> {
        let constant =
            self.constant(at).filter(|constant| constant.consttype == pg_sys::TEXTOID)?;
        // SAFETY: a text.
        Some(unsafe { Varlena::from_datum(constant.constvalue) })
    }

    /// Whether the value of the argument is the same however often it is computed.
    pub fn is_steady(&self, at: usize) -> bool {
        // SAFETY: an expression.
        self.argument(at).is_some_and(|node| unsafe { !pg_sys::contain_volatile_functions(node) })
    }

    /// The column that the argument at `at` is, if it is one of a table: in the query, or behind subqueries and views that
    /// show it as it is.
    pub fn column(&self, at: usize) -> Option<Column> {
        let node = self.argument(at)?;
        // SAFETY: the planner's own nodes: each one's tag says what it is, and a column's numbers those of its query.
        unsafe {
            let variable = variable(node)?;
            let mut root = self.0.root.as_ref()?;
            for _ in 0..variable.varlevelsup {
                root = root.parent_root.as_ref()?;
            }
            column_of(root.parse, variable)
        }
    }

    /// Whether two arguments are not columns of two rows: a table may be in a query twice.
    pub fn are_of_one_row(&self, one: usize, other: usize) -> bool {
        let row = |at: usize| {
            // SAFETY: the planner's own nodes: each one's tag says what it is.
            let variable = unsafe { variable(self.argument(at)?)? };
            Some((variable.varno, variable.varlevelsup))
        };
        row(one).zip(row(other)).is_none_or(|(one, other)| one == other)
    }

    /// The plan is to be made anew when `relation` changes, or what it holds is told to have changed.
    pub fn depends_on(&self, relation: pg_sys::Oid) {
        // SAFETY: the planner's own list, which it adds to in the same way.
        unsafe {
            let plan = self.0.root.as_ref().and_then(|root| root.glob.as_mut());
            if let Some(plan) = plan {
                plan.relationOids = pg_sys::lappend_oid(plan.relationOids, relation);
            }
        }
    }

    /// `condition AND recheck(arguments)`; the condition is of the column at `column`, and calls its function with
    /// `asked`. `None` where a function is missing: the catalog is that of an earlier release.
    pub fn split(
        &self,
        column: usize,
        condition: Condition<'_>,
        asked: &[Argument<'_>],
        recheck: &CStr,
        rechecked: &[Argument<'_>],
    ) -> Option<Node> {
        // SAFETY: the planner's call.
        let collation = unsafe { self.0.fcall.as_ref()? }.inputcollid;
        let column = self.copy_of(column)?;
        // SAFETY: the arguments are of the types that the functions are declared with.
        unsafe {
            let condition = match condition {
                Condition::AnyEqual(name) => {
                    let terms =
                        function(named(name)?, pg_sys::BYTEAARRAYOID, self.list(asked)?, collation);
                    Node::any_equal(column, terms)
                }
                Condition::AnyEqualOf { function: name, since: (since, first), versions } => {
                    let is_since = [asked.get(..first)?, &[Argument::Numbers(versions)]].concat();
                    let is_since = self.list(&is_since)?;
                    let since =
                        function(named(since)?, pg_sys::INT8OID, is_since, pg_sys::InvalidOid);
                    let known = versions.iter().map(|version| constant_number(*version));
                    let (name, mut terms) = (named(name)?, std::ptr::null_mut());
                    for version in known.chain([since]) {
                        let arguments = pg_sys::lappend(self.list(asked)?, version.cast());
                        let term = function(name, pg_sys::BYTEAOID, arguments, collation);
                        terms = pg_sys::lappend(terms, term.cast());
                    }
                    Node::any_equal(column, Node::array(terms))
                }
                Condition::Sets { condition, function: name } => {
                    let tokens =
                        function(named(name)?, pg_sys::INT8ARRAYOID, self.list(asked)?, collation);
                    let both = pg_sys::lappend(std::ptr::null_mut(), column.cast());
                    let both = pg_sys::lappend(both, tokens.cast());
                    function(named(condition)?, pg_sys::BOOLOID, both, collation)
                }
            };
            let recheck = named(recheck)?;
            let recheck = function(recheck, pg_sys::BOOLOID, self.list(rechecked)?, collation);
            let both = pg_sys::lappend(std::ptr::null_mut(), condition.cast());
            let both = pg_sys::lappend(both, recheck.cast());
            Some(Node::at(pg_sys::make_andclause(both).cast()))
        }
    }

    fn list(&self, arguments: &[Argument<'_>]) -> Option<*mut pg_sys::List> {
        let mut list = std::ptr::null_mut();
        for argument in arguments {
            let node = match argument {
                Argument::Same(at) => self.copy_of(*at)?,
                Argument::Name(name) => constant_name(name),
                Argument::Numbers(numbers) => constant_numbers(numbers),
            };
            // SAFETY: a list of expressions, and one more.
            list = unsafe { pg_sys::lappend(list, node.cast()) };
        }
        Some(list)
    }

    fn copy_of(&self, at: usize) -> Option<*mut pg_sys::Node> {
        let node = self.argument(at)?;
        // SAFETY: an expression.
        Some(unsafe { pg_sys::copyObjectImpl(node.cast()) }.cast())
    }
}

/// # Safety
/// `node` is an expression.
unsafe fn variable<'a>(mut node: *mut pg_sys::Node) -> Option<&'a pg_sys::Var> {
    // SAFETY: by contract; the tag says what it is.
    unsafe {
        while (*node).type_ == pg_sys::NodeTag::T_RelabelType {
            node = (*node.cast::<pg_sys::RelabelType>()).arg.cast();
        }
        ((*node).type_ == pg_sys::NodeTag::T_Var).then(|| &*node.cast::<pg_sys::Var>())
    }
}

/// The number of its table in the query.
fn number(variable: &pg_sys::Var) -> i32 {
    #[cfg(feature = "pg14")]
    return i32::try_from(variable.varno).unwrap_or(0);
    #[cfg(not(feature = "pg14"))]
    variable.varno
}

/// # Safety
/// `variable` is one of `query`'s own level.
unsafe fn column_of(query: *mut pg_sys::Query, variable: &pg_sys::Var) -> Option<Column> {
    // SAFETY: by contract; a query's tables and a subquery's columns are lists, counted from 1.
    unsafe {
        let at = number(variable).checked_sub(1)?;
        let tables = query.as_ref()?.rtable.as_ref()?;
        if at < 0 || at >= tables.length || variable.varattno <= 0 {
            return None;
        }
        let table = &*pg_sys::list_nth(tables, at).cast::<pg_sys::RangeTblEntry>();
        match table.rtekind {
            pg_sys::RTEKind::RTE_RELATION => Some(Column {
                relation: table.relid,
                number: variable.varattno,
                kind: kinds::base(variable.vartype, -1).0,
            }),
            pg_sys::RTEKind::RTE_SUBQUERY => {
                let subquery = table.subquery.as_ref()?;
                let shown = subquery.targetList.as_ref()?;
                let at = i32::from(variable.varattno) - 1;
                if !subquery.setOperations.is_null() || at >= shown.length {
                    return None;
                }
                let shown = &*pg_sys::list_nth(shown, at).cast::<pg_sys::TargetEntry>();
                let inner = self::variable(shown.expr.cast())?;
                if inner.varlevelsup > 0 { None } else { column_of(table.subquery, inner) }
            }
            _ => None,
        }
    }
}

fn constant_name(name: &CStr) -> *mut pg_sys::Node {
    const LEN: usize = pg_sys::NAMEDATALEN as usize;
    // SAFETY: a name of fixed size, filled with zeros; it is cut so that the last byte stays one.
    unsafe {
        let value = pg_sys::palloc0(LEN).cast::<u8>();
        let len = name.to_bytes().len().min(LEN - 1);
        std::ptr::copy_nonoverlapping(name.as_ptr().cast(), value, len);
        let collation = pg_sys::C_COLLATION_OID;
        pg_sys::makeConst(
            pg_sys::NAMEOID,
            -1,
            collation,
            LEN as i32,
            pg_sys::Datum::from(value),
            false,
            false,
        )
        .cast()
    }
}

fn constant_number(number: i64) -> *mut pg_sys::Node {
    // SAFETY: a bigint, which is passed by value.
    unsafe {
        pg_sys::makeConst(
            pg_sys::INT8OID,
            -1,
            pg_sys::InvalidOid,
            size_of::<i64>() as i32,
            pg_sys::Datum::from(number),
            false,
            true,
        )
        .cast()
    }
}

fn constant_numbers(numbers: &[i64]) -> *mut pg_sys::Node {
    let (collation, value) = (pg_sys::InvalidOid, array::of_numbers(numbers));
    // SAFETY: an array of that type, just made.
    unsafe {
        pg_sys::makeConst(pg_sys::INT8ARRAYOID, -1, collation, -1, value, false, false).cast()
    }
}
