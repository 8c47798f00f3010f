//! Values with types: a value of a PostgreSQL type to the canonical form that is sealed, and back.
//!
//! The grammar of the forms is `envelope::forms`'. Neither direction depends on a setting, on the client's encoding or on
//! the server's.

mod arriving;
mod buffer;
mod read;
mod scalar;
mod searched;
mod write;

use envelope::forms::padding::Padding;
use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::kinds::{self, Scalar, Storage};
use crate::pg::types;

pub use arriving::read_as;
pub use buffer::FormBuf;

/// A type whose values have a canonical form: looked up once, then used for many values. It holds no memory.
#[derive(Clone, Copy)]
pub struct ValueType {
    /// As it was asked for, for messages.
    named: pg_sys::Oid,
    named_modifier: i32,
    /// The domain that it is.
    domain: Option<pg_sys::Oid>,
    /// Its base type, or that of its elements.
    scalar: Scalar,
    /// That type's modifier, or a domain's; -1 for none.
    modifier: i32,
    /// Of an array.
    elements: Option<ElementType>,
}

/// The type of an array's elements.
#[derive(Clone, Copy)]
struct ElementType {
    kind: pg_sys::Oid,
    /// The domain that it is.
    domain: Option<pg_sys::Oid>,
    storage: Storage,
}

impl ValueType {
    /// The type of that OID, with a modifier or -1. 0A000 if it has no canonical form.
    pub fn of(kind: pg_sys::Oid, modifier: i32) -> Result<ValueType> {
        if kind == pg_sys::InvalidOid {
            return Err(Error::TypeHasNoForm("unknown".into()));
        }
        let (base, of_base) = kinds::base(kind, modifier);
        let domain = (base != kind).then_some(kind);
        let has_none = || Error::TypeHasNoForm(types::display_name(kind, modifier));
        let (named, named_modifier) = (kind, modifier);
        let Some(element) = kinds::element(base) else {
            let scalar = Scalar::of(base).ok_or_else(has_none)?;
            let modifier = of_base;
            return Ok(ValueType {
                named,
                named_modifier,
                domain,
                scalar,
                modifier,
                elements: None,
            });
        };
        let (of_element, modifier) = kinds::base(element, of_base);
        // Of elements that are arrays there would be no end.
        let scalar = Scalar::of(of_element).ok_or_else(has_none)?;
        let elements = Some(ElementType {
            kind: element,
            domain: (of_element != element).then_some(element),
            storage: kinds::storage(element),
        });
        Ok(ValueType { named, named_modifier, domain, scalar, modifier, elements })
    }

    /// The block that is used if none is said: most forms of the type fit in one. 1: none.
    pub fn default_block(&self) -> u32 {
        if self.elements.is_some() { 1 } else { self.scalar.block(self.modifier) }
    }

    /// Whether it is a domain, or an array of one: its constraints may call functions.
    pub fn has_domain(&self) -> bool {
        self.domain.is_some() || self.elements.is_some_and(|elements| elements.domain.is_some())
    }

    /// Whether it is a type that somebody can drop.
    fn is_made_by_users(&self) -> bool {
        matches!(self.scalar, Scalar::Enum(_)) || self.has_domain()
    }

    /// How forms are filled. An array ends in a bracket.
    fn padding(&self) -> Padding {
        if self.elements.is_some() { Padding::Spaces } else { self.scalar.padding() }
    }
}
