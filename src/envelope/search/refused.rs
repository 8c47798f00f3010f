//! Why a value has no term, or a query none to ask for.

/// Says what is wrong with a value, never the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its normal form is empty: `digits` of a text without digits, `alnum` of one without letters and numbers.
    #[error("nothing of the value is left by the index's normal form")]
    Empty,
    /// It is no e-mail address.
    #[error("the value is no e-mail address")]
    NotEmail,
    /// A query is shorter than what the index has terms of.
    #[error("the query is shorter than the {least} characters that the index needs")]
    TooShort {
        /// So many characters are needed.
        least: u32,
    },
    /// The value is not what the rule is about: no form of the type, another type, a number of another scale.
    #[error("the value is not of the type that the index has terms of")]
    NoForm,
    /// The kind cannot answer the question.
    #[error("the index cannot answer this question")]
    NoAnswer,
    /// A range of more terms than are asked for at once, or one without an end.
    #[error("the range has more than the {most} steps that are asked for at once")]
    TooWide {
        /// So many are asked for.
        most: u64,
    },
    /// The index needs its boundary set, and got none.
    #[error("the boundary set is missing")]
    NoBoundaries,
}
