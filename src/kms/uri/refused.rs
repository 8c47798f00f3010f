//! Why a text is no KEK's name.

/// What is wrong with it, and how it is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kms) struct Refused {
    pub(in crate::kms) why: String,
    pub(in crate::kms) hint: String,
}

impl Refused {
    pub(in crate::kms) fn new(why: impl Into<String>, hint: impl Into<String>) -> Refused {
        Refused { why: why.into(), hint: hint.into() }
    }
}
