//! Requests, as far as they are answered here.

use pgrx::pg_sys;

use super::SetOperator;
use super::answer::Node;
use super::simplify::Simplify;
use crate::pg::call::Arguments;

/// Makes a function from [`Request`] to [`Node`] callable by the planner under a symbol of that name.
macro_rules! support_function {
    ($symbol:ident, $work:expr) => {
        $crate::pg::call::row_function!($symbol, |fcinfo| {
            // SAFETY: the planner calls support functions with a request, which outlives the call.
            let request = unsafe { $crate::pg::support::Request::of(fcinfo) };
            let answer: Option<$crate::pg::support::Node> = ($work)(request);
            // Not NULL, which is an error to the planner.
            let answer = Some($crate::pg::support::Node::or_none(answer));
            Ok::<_, pgrx::pg_sys::panic::ErrorReport>(answer)
        });
    };
}
pub(crate) use support_function;

/// What is asked.
pub enum Request<'a> {
    /// Which condition of this index the call is.
    IndexCondition(IndexCondition<'a>),
    /// Of how many rows it is true.
    Selectivity(Selectivity<'a>),
    /// By which expression the call may be replaced.
    Simplify(Simplify<'a>),
    /// Something else.
    Other,
}

/// See [`Request::IndexCondition`].
pub struct IndexCondition<'a>(&'a mut pg_sys::SupportRequestIndexCondition);

/// See [`Request::Selectivity`].
pub struct Selectivity<'a>(&'a mut pg_sys::SupportRequestSelectivity);

impl Request<'_> {
    /// # Safety
    /// `fcinfo` is the planner's call of a support function.
    pub unsafe fn of<'a>(fcinfo: pg_sys::FunctionCallInfo) -> Request<'a> {
        // SAFETY: by contract; a request's tag says what it is. It is the planner's, which waits for the answer.
        unsafe {
            let Some(request) = Arguments::of(fcinfo).datum(0) else { return Request::Other };
            let node = request.cast_mut_ptr::<pg_sys::Node>();
            match node.as_ref().map(|node| node.type_) {
                Some(pg_sys::NodeTag::T_SupportRequestIndexCondition) => {
                    Request::IndexCondition(IndexCondition(&mut *node.cast()))
                }
                Some(pg_sys::NodeTag::T_SupportRequestSelectivity) => {
                    Request::Selectivity(Selectivity(&mut *node.cast()))
                }
                Some(pg_sys::NodeTag::T_SupportRequestSimplify) => {
                    Request::Simplify(Simplify::of(&*node.cast()))
                }
                _ => Request::Other,
            }
        }
    }
}

impl IndexCondition<'_> {
    /// The call `f(column, value)` as the condition `column operator value`; `None` where the index has no such operator,
    /// or does not hold the column, or where the value is not one and the same while the index is read. `lossy`: the
    /// index may find more rows.
    pub fn by_operator(self, operator: SetOperator, lossy: bool) -> Option<Node> {
        let request = self.0;
        let number = operator.number();
        // SAFETY: the planner's own nodes: the call's, whose arguments these are, and the index that it names.
        unsafe {
            let call = request.node.as_ref()?;
            if call.type_ != pg_sys::NodeTag::T_FuncExpr || request.indexarg != 0 {
                return None;
            }
            let arguments = (*request.node.cast::<pg_sys::FuncExpr>()).args;
            let (column, value) =
                (pg_sys::list_nth(arguments, 0), pg_sys::list_nth(arguments, 1).cast());
            let fits = pg_sys::op_in_opfamily(number, request.opfamily)
                && pg_sys::is_pseudo_constant_for_index(request.root, value, request.index);
            if !fits {
                return None;
            }
            request.lossy = lossy;
            Some(Node::operator(number, column.cast(), value.cast()).in_list())
        }
    }
}

impl Selectivity<'_> {
    /// As many as without it.
    pub fn all(self) -> Option<Node> {
        let request = self.0;
        request.selectivity = 1.0;
        Some(self_of(request))
    }

    /// As many as of `column operator value`, by what ANALYZE has found.
    pub fn like(self, operator: SetOperator) -> Option<Node> {
        let request = self.0;
        let number = operator.number();
        // SAFETY: the planner's own; the arguments are those of the operator, as many and in their order.
        unsafe {
            request.selectivity = if request.is_join {
                pg_sys::join_selectivity(
                    request.root,
                    number,
                    request.args,
                    request.inputcollid,
                    request.jointype,
                    request.sjinfo,
                )
            } else {
                pg_sys::restriction_selectivity(
                    request.root,
                    number,
                    request.args,
                    request.inputcollid,
                    request.varRelid,
                )
            };
        }
        Some(self_of(request))
    }
}

/// A request that was filled in is its own answer.
fn self_of(request: &mut pg_sys::SupportRequestSelectivity) -> Node {
    Node::at(std::ptr::from_mut(request).cast())
}
