//! Types: those whose values can be sealed as such, and what PostgreSQL's catalog says of any.

use pgrx::pg_sys;

/// A type that is no array, of those whose values can be sealed as such. Domains are their base type here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Inet,
    Cidr,
    Text,
    Varchar,
    Bpchar,
    Json,
    Jsonb,
    Bytea,
    /// The enum of that OID.
    Enum(pg_sys::Oid),
}

impl Scalar {
    /// The type of that OID, which is no domain; `None` if it is none of these.
    pub fn of(kind: pg_sys::Oid) -> Option<Scalar> {
        Some(match kind {
            pg_sys::BOOLOID => Scalar::Bool,
            pg_sys::INT2OID => Scalar::Int2,
            pg_sys::INT4OID => Scalar::Int4,
            pg_sys::INT8OID => Scalar::Int8,
            pg_sys::FLOAT4OID => Scalar::Float4,
            pg_sys::FLOAT8OID => Scalar::Float8,
            pg_sys::NUMERICOID => Scalar::Numeric,
            pg_sys::DATEOID => Scalar::Date,
            pg_sys::TIMEOID => Scalar::Time,
            pg_sys::TIMETZOID => Scalar::TimeTz,
            pg_sys::TIMESTAMPOID => Scalar::Timestamp,
            pg_sys::TIMESTAMPTZOID => Scalar::TimestampTz,
            pg_sys::INTERVALOID => Scalar::Interval,
            pg_sys::UUIDOID => Scalar::Uuid,
            pg_sys::INETOID => Scalar::Inet,
            pg_sys::CIDROID => Scalar::Cidr,
            pg_sys::TEXTOID => Scalar::Text,
            pg_sys::VARCHAROID => Scalar::Varchar,
            pg_sys::BPCHAROID => Scalar::Bpchar,
            pg_sys::JSONOID => Scalar::Json,
            pg_sys::JSONBOID => Scalar::Jsonb,
            pg_sys::BYTEAOID => Scalar::Bytea,
            kind if is_enum(kind) => Scalar::Enum(kind),
            _ => return None,
        })
    }
}

/// How values of a type are stored, as arrays need to know.
#[derive(Clone, Copy)]
pub struct Storage {
    pub len: i16,
    pub by_value: bool,
    pub align: std::ffi::c_char,
}

/// The type that a domain is over, at the end of the chain, and its modifier; a type that is no domain, as it is.
pub fn base(kind: pg_sys::Oid, modifier: i32) -> (pg_sys::Oid, i32) {
    // Types whose numbers PostgreSQL's sources give are none. Each row that is searched for asks.
    if kind != pg_sys::InvalidOid && kind.to_u32() < pg_sys::FirstGenbkiObjectId {
        return (kind, modifier);
    }
    let mut of_base = -1;
    // SAFETY: a look-up in the system cache, which raises for a type that is gone.
    let base = unsafe { pg_sys::getBaseTypeAndTypmod(kind, &mut of_base) };
    (base, if base == kind { modifier } else { of_base })
}

/// The type of an array's elements; `None` of what is no array, or not the usual one of its elements (int2vector).
pub fn element(array: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: look-ups in the system cache; 0 for none.
    unsafe {
        let element = pg_sys::get_element_type(array);
        (element != pg_sys::InvalidOid && pg_sys::get_array_type(element) == array)
            .then_some(element)
    }
}

/// Whether it is an enum.
pub fn is_enum(kind: pg_sys::Oid) -> bool {
    // SAFETY: a look-up in the system cache.
    unsafe { pg_sys::get_typtype(kind) as u8 == pg_sys::TYPTYPE_ENUM }
}

/// How many values an enum has.
pub fn labels(kind: pg_sys::Oid) -> usize {
    let none = pg_sys::Datum::null();
    // SAFETY: a look-up in the system cache by the first of its keys; the list is released once it was counted.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::ENUMTYPOIDNAME as std::ffi::c_int;
        let list = pg_sys::SearchSysCacheList(cache, 1, pg_sys::Datum::from(kind), none, none);
        let count = (*list).n_members;
        pg_sys::ReleaseCatCacheList(list);
        usize::try_from(count).unwrap_or(0)
    }
}

/// The precision and the scale that a modifier of numeric says.
pub fn precision_and_scale(modifier: i32) -> Option<(i32, i16)> {
    let packed = modifier.checked_sub(pg_sys::VARHDRSZ as i32).filter(|packed| *packed >= 0)?;
    // Eleven bits, the first of them the sign (utils/adt/numeric.c).
    let scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
    Some((packed >> 16 & 0xffff, scale as i16))
}

/// How its values are stored.
pub fn storage(kind: pg_sys::Oid) -> Storage {
    let mut storage = Storage { len: 0, by_value: false, align: 0 };
    // SAFETY: writes the three, or raises for a type that is gone.
    unsafe {
        pg_sys::get_typlenbyvalalign(
            kind,
            &mut storage.len,
            &mut storage.by_value,
            &mut storage.align,
        );
    }
    storage
}
