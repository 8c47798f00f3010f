//! Types as search indexes know them: by the canonical forms of their values.

use envelope::search::FormType;

use super::ValueType;
use crate::pg::kinds::Scalar;

impl ValueType {
    /// Whose forms those of this type are.
    pub fn form_type(&self) -> FormType {
        if self.elements.is_some() {
            return FormType::Unordered;
        }
        match self.scalar {
            Scalar::Bool => FormType::Bool,
            Scalar::Int2 | Scalar::Int4 | Scalar::Int8 => FormType::Int,
            Scalar::Float4 => FormType::Float4,
            Scalar::Float8 => FormType::Float8,
            Scalar::Numeric => FormType::Numeric,
            Scalar::Date => FormType::Date,
            Scalar::Time => FormType::Time,
            Scalar::TimeTz => FormType::TimeTz,
            Scalar::Timestamp => FormType::Timestamp,
            Scalar::TimestampTz => FormType::TimestampTz,
            Scalar::Interval => FormType::Interval,
            Scalar::Uuid => FormType::Uuid,
            Scalar::Inet | Scalar::Cidr => FormType::Network,
            Scalar::Enum(_) => FormType::Enum,
            Scalar::Text | Scalar::Varchar | Scalar::Bpchar => FormType::Text,
            Scalar::Bytea => FormType::Bytea,
            Scalar::Json | Scalar::Jsonb => FormType::Unordered,
        }
    }
}
