//! What of a column's values may be indexed, by their type.

use envelope::search::{NormalForm, Ordered, Subject};
use pgrx::pg_sys;

use crate::catalog::rows::PolicyRow;
use crate::error::{IndexError, Result};
use crate::pg::kinds::{self, Scalar};
use crate::pg::relation::display_name;
use crate::pg::{encoding, types};

/// The kinds of values that are searched for in different ways.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Characters.
    Text,
    /// In an order.
    Ordered(Ordered),
    /// Equal or not.
    Plain,
}

/// What the values of a column with that policy are; an error if they take no index.
pub fn of(policy: &PolicyRow) -> Result<Values> {
    if policy.value_type == pg_sys::InvalidOid {
        return Ok(Values::Plain);
    }
    let (base, modifier) = kinds::base(policy.value_type, policy.value_typmod);
    let never = |why| Err(never(policy, why));
    if kinds::element(base).is_some() {
        return never("equal arrays may have several texts");
    }
    Ok(match Scalar::of(base) {
        None | Some(Scalar::Json | Scalar::Jsonb) => {
            return never("equal values may have several texts");
        }
        Some(Scalar::Bool) => return never("no index hides which of two values it is"),
        Some(Scalar::Enum(kind)) if kinds::labels(kind) <= 2 => {
            return never("no index hides which of two values it is");
        }
        Some(Scalar::Text | Scalar::Varchar | Scalar::Bpchar) => Values::Text,
        Some(Scalar::Int2 | Scalar::Int4 | Scalar::Int8) => Values::Ordered(Ordered::Int),
        Some(Scalar::Float4 | Scalar::Float8) => Values::Ordered(Ordered::Float),
        Some(Scalar::Numeric) => kinds::precision_and_scale(modifier)
            .filter(|(precision, _)| *precision <= 18)
            .map_or(Values::Plain, |(_, scale)| Values::Ordered(Ordered::Numeric(scale))),
        Some(Scalar::Date) => Values::Ordered(Ordered::Date),
        Some(Scalar::Time) => Values::Ordered(Ordered::Time),
        Some(Scalar::Timestamp) => Values::Ordered(Ordered::Timestamp),
        Some(Scalar::TimestampTz) => Values::Ordered(Ordered::Timestamptz),
        Some(
            Scalar::TimeTz
            | Scalar::Interval
            | Scalar::Uuid
            | Scalar::Inet
            | Scalar::Cidr
            | Scalar::Bytea
            | Scalar::Enum(_),
        ) => Values::Plain,
    })
}

impl Values {
    /// What is hashed of them where no form is named.
    pub fn whole(self) -> Subject {
        Subject::Form(NormalForm::Exact)
    }

    /// The kinds of index that they take.
    pub fn takes(self) -> &'static str {
        match self {
            Values::Text => "exact, prefix, suffix, words, parts",
            Values::Ordered(Ordered::Date | Ordered::Timestamp | Ordered::Timestamptz) => {
                "exact, days, steps, buckets, tree"
            }
            Values::Ordered(Ordered::Float) => "exact, buckets, tree",
            Values::Ordered(_) => "exact, steps, buckets, tree",
            Values::Plain => "exact",
        }
    }
}

fn never(policy: &PolicyRow, why: &'static str) -> crate::error::Error {
    IndexError::Never {
        column: encoding::to_string(policy.column_name.to_bytes()),
        table: display_name(policy.relation),
        is: types::display_name(policy.value_type, policy.value_typmod),
        why,
    }
    .into()
}
