//! Nodes that answer a request.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::SetOperator;
use crate::pg::relation;

/// A node of the planner's, or a list of them.
pub struct Node(*mut pg_sys::Node);

impl Node {
    pub(super) fn at(node: *mut pg_sys::Node) -> Node {
        Node(node)
    }

    /// `left operator right`, which gives a boolean.
    ///
    /// # Safety
    /// The operands are the planner's expressions, of the operator's types.
    pub(super) unsafe fn operator(
        operator: pg_sys::Oid,
        left: *mut pg_sys::Expr,
        right: *mut pg_sys::Expr,
    ) -> Node {
        // SAFETY: by contract.
        let made = unsafe {
            pg_sys::make_opclause(
                operator,
                pg_sys::BOOLOID,
                false,
                left,
                right,
                pg_sys::InvalidOid,
                pg_sys::InvalidOid,
            )
        };
        Node(made.cast())
    }

    /// `column = ANY (terms)`, of bytea and bytea[].
    ///
    /// # Safety
    /// The operands are the planner's expressions, of these types.
    pub(super) unsafe fn any_equal(
        column: *mut pg_sys::Node,
        terms: *mut pg_sys::Node,
    ) -> *mut pg_sys::Node {
        let equal = pg_sys::Oid::from(pg_sys::ByteaEqualOperator);
        // SAFETY: by contract; a node of that kind, zeroed but for its tag.
        unsafe {
            let node = pg_sys::palloc0(size_of::<pg_sys::ScalarArrayOpExpr>())
                .cast::<pg_sys::ScalarArrayOpExpr>();
            (*node).xpr.type_ = pg_sys::NodeTag::T_ScalarArrayOpExpr;
            (*node).opno = equal;
            (*node).opfuncid = pg_sys::get_opcode(equal);
            (*node).useOr = true;
            let both = pg_sys::lappend(std::ptr::null_mut(), column.cast());
            (*node).args = pg_sys::lappend(both, terms.cast());
            (*node).location = -1;
            node.cast()
        }
    }

    /// An array of these, of bytea.
    ///
    /// # Safety
    /// The elements are a list of the planner's expressions, of that type.
    pub(super) unsafe fn array(elements: *mut pg_sys::List) -> *mut pg_sys::Node {
        // SAFETY: by contract; a node of that kind, zeroed but for its tag.
        unsafe {
            let node = pg_sys::palloc0(size_of::<pg_sys::ArrayExpr>()).cast::<pg_sys::ArrayExpr>();
            (*node).xpr.type_ = pg_sys::NodeTag::T_ArrayExpr;
            (*node).array_typeid = pg_sys::BYTEAARRAYOID;
            (*node).element_typeid = pg_sys::BYTEAOID;
            (*node).elements = elements;
            (*node).location = -1;
            node.cast()
        }
    }

    /// A list of this one.
    pub(super) fn in_list(self) -> Node {
        // SAFETY: an empty list, and a node.
        Node(unsafe { pg_sys::lappend(std::ptr::null_mut(), self.0.cast()) }.cast())
    }

    /// As the planner takes it; a null pointer for none.
    pub fn or_none(node: Option<Node>) -> pg_sys::Datum {
        node.map_or(pg_sys::Datum::null(), |node| pg_sys::Datum::from(node.0))
    }
}

impl SetOperator {
    pub(super) fn number(self) -> pg_sys::Oid {
        pg_sys::Oid::from(match self {
            SetOperator::Overlap => pg_sys::OID_ARRAY_OVERLAP_OP,
            SetOperator::Contains => pg_sys::OID_ARRAY_CONTAINS_OP,
        })
    }
}

/// The function of that name, of which there is one; `None` when there is none.
pub(super) fn named(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: with a count of -1 any arguments will do; 0 when it is missing.
    let found =
        unsafe { pg_sys::LookupFuncName(relation::name_list(name), -1, std::ptr::null(), true) };
    (found != pg_sys::InvalidOid).then_some(found)
}

/// A call of a function.
///
/// # Safety
/// The arguments are a list of expressions of its types, and it gives `kind`.
pub(super) unsafe fn function(
    function: pg_sys::Oid,
    kind: pg_sys::Oid,
    arguments: *mut pg_sys::List,
    collation: pg_sys::Oid,
) -> *mut pg_sys::Node {
    let form = pg_sys::CoercionForm::COERCE_EXPLICIT_CALL;
    // SAFETY: by contract.
    unsafe {
        pg_sys::makeFuncExpr(function, kind, arguments, pg_sys::InvalidOid, collation, form).cast()
    }
}
