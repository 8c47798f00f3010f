//! Types that are no arrays: how their forms are filled.

use crate::pg::kinds::{self, Scalar};
use envelope::forms::padding::Padding;

/// The longest block of enums: a label has 63 bytes at most in most encodings.
const ENUM_BLOCK: u32 = 64;

impl Scalar {
    /// The block that all its forms fit in, if there is one; else 1. Of numeric, by its modifier.
    pub fn block(self, modifier: i32) -> u32 {
        match self {
            Scalar::Bool => 5,
            Scalar::Int2 => 6,
            Scalar::Int4 => 11,
            Scalar::Int8 => 20,
            Scalar::Float4 => 16,
            Scalar::Float8 => 24,
            Scalar::Numeric => numeric_block(modifier),
            Scalar::Date => 13,
            Scalar::Time => 15,
            Scalar::TimeTz => 24,
            Scalar::Timestamp => 29,
            Scalar::TimestampTz => 30,
            Scalar::Interval => 60,
            Scalar::Uuid => 36,
            Scalar::Inet | Scalar::Cidr => 44,
            Scalar::Enum(_) => ENUM_BLOCK,
            Scalar::Text | Scalar::Varchar | Scalar::Bpchar => 1,
            Scalar::Json | Scalar::Jsonb | Scalar::Bytea => 1,
        }
    }

    /// How its forms are filled.
    pub fn padding(self) -> Padding {
        match self {
            Scalar::Text | Scalar::Varchar | Scalar::Bpchar | Scalar::Json | Scalar::Jsonb => {
                Padding::Marked
            }
            Scalar::Bytea => Padding::None,
            _ => Padding::Spaces,
        }
    }
}

/// Sign, point and a zero before it, beside the digits that the modifier allows; a negative scale adds zeros.
fn numeric_block(modifier: i32) -> u32 {
    let Some((precision, scale)) = kinds::precision_and_scale(modifier) else { return 32 };
    let scale = i32::from(scale);
    let block = if scale < 0 { precision - scale + 1 } else { precision.max(scale) + 3 };
    block.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::numeric_block;

    /// As PostgreSQL packs it.
    fn of(precision: i32, scale: i32) -> u32 {
        numeric_block((precision << 16 | scale & 0x7ff) + 4)
    }

    #[test]
    fn a_block_has_room_for_what_the_modifier_allows() {
        assert_eq!(numeric_block(-1), 32);
        // -99999999.99, -0.00123, -12000
        assert_eq!(of(10, 2), 13);
        assert_eq!(of(3, 5), 8);
        assert_eq!(of(2, -3), 6);
        assert_eq!(of(1000, 1000), 1003);
        assert_eq!(of(5, 0), 8);
    }
}
