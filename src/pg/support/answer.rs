//! Nodes that answer a request.

use pgrx::pg_sys;

use super::SetOperator;

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
