//! What a column is to become: the form, and where its sealed values will stand.

use super::facts::{Category, Column, Facts, Policy, TriggerKind};
use super::options::OfColumn;
use super::text::{Name, array, joined, literal};
use crate::error::{Error, Result};

/// How plaintext comes in, once all is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// In a column of type envelope.sealed, under the column's own name.
    Sealed,
    /// In the column as it is; sealed values stand in another one.
    Source,
    /// In a bytea column, under the column's own name.
    Bytea,
}

/// A type of values, as SQL writes it.
#[derive(Clone, Debug)]
pub struct ValueType {
    pub name: String,
    pub category: Category,
}

impl ValueType {
    /// Whether it is text, or of the types that PostgreSQL casts to others by way of their text, or an array of such.
    pub fn is_string(&self) -> bool {
        let element = self.name.trim_end_matches("[]");
        self.category == Category::Text
            || ["text", "name", "bpchar"].contains(&element)
            || element.starts_with("character")
            || element.ends_with("citext")
    }
}

/// One column of a plan.
pub struct Wish<'a> {
    /// As it is now.
    pub column: &'a Column,
    pub form: Form,
    /// Where sealed values go first: the column itself, if they go there at once.
    pub target: Name,
    pub value: ValueType,
    /// In row contexts; none is `<table>.<column>`.
    pub tag: Option<String>,
    pub bind: Vec<&'a Column>,
    pub block: Option<i32>,
    pub mask: Option<String>,
    /// By a search index, which is unique before the column is no more.
    pub stays_unique: bool,
    /// It has search indexes now.
    pub is_indexed: bool,
    /// It has some by the time at which readers change over.
    pub gets_indexed: bool,
}

impl<'a> Wish<'a> {
    /// `value` is the type that was asked for. `online` lets a form of the column's own name come by another column.
    pub fn new(
        facts: &'a Facts,
        column: &'a Column,
        of: OfColumn,
        value: Option<ValueType>,
        online: bool,
    ) -> Result<Wish<'a>> {
        let value = value_type(facts, column, of.target.as_deref(), value);
        let form = match of.form.as_deref() {
            Some("sealed") => Form::Sealed,
            Some("source") => Form::Source,
            Some("bytea") => Form::Bytea,
            Some(_) => {
                return Err(Error::BadArgument("form must be sealed, source or bytea".into()));
            }
            None if column.category == Category::Other => Form::Source,
            None if column.category == Category::Bytes && seals_in_place(facts, column) => {
                Form::Bytea
            }
            None => Form::Sealed,
        };
        if form == Form::Source && matches!(column.category, Category::Sealed) {
            return Err(Error::BadArgument(format!(
                "column {} is of type envelope.sealed, and no source of plaintext",
                column.quoted
            )));
        }
        if form == Form::Bytea && !matches!(value.category, Category::Text | Category::Bytes) {
            return Err(Error::BadArgument(format!(
                "form bytea takes text or bytes, and column {} has values of type {}",
                column.quoted, value.name
            )));
        }
        let target = match (form, of.target) {
            (_, Some(target)) => facts.name(&target),
            (Form::Source, None) => facts.name(&joined(&column.name, "_sealed")),
            // Values are sealed already where they stand, or some of them.
            (_, None) if !online || seals_in_place(facts, column) => column.to_name(),
            (_, None) => facts.name(&joined(&column.name, "_sealed")),
        };
        if form == Form::Source && target.plain == column.name {
            return Err(Error::BadArgument(format!(
                "form source needs another column as its target than {}",
                column.quoted
            )));
        }
        if !online && form != Form::Source && target.plain != column.name {
            return Err(Error::BadArgument(
                "option target is for form source, and for what is done online".into(),
            ));
        }
        let bind = of.bind.unwrap_or_default();
        let bind = bind.iter().map(|name| facts.column(name).ok_or_else(|| no_column(facts, name)));
        Ok(Wish {
            column,
            form,
            target,
            value,
            tag: of.tag,
            bind: bind.collect::<Result<_>>()?,
            block: of.block,
            mask: of.mask,
            stays_unique: false,
            is_indexed: false,
            gets_indexed: false,
        })
    }

    /// Whether values are sealed where they stand.
    pub fn is_in_place(&self) -> bool {
        self.target.plain == self.column.name
    }

    /// Whether the column that they go to first takes the name of the one that they come from.
    pub fn is_renamed(&self) -> bool {
        self.form != Form::Source && !self.is_in_place()
    }

    /// The type of the column that holds them.
    pub fn target_type(&self) -> &'static str {
        if self.form == Form::Bytea { "bytea" } else { "envelope.sealed" }
    }

    /// The type that the column has when its policy is made: what is to be sealed, or what holds sealed values.
    pub fn became(&self) -> ValueType {
        let own = ValueType { name: self.column.kind.clone(), category: self.column.category };
        let can_have_policy = !self.is_in_place()
            || own.name == self.value.name
            || own.category == Category::Sealed
            || own.category == Category::Bytes && self.form == Form::Bytea;
        match own.category {
            _ if can_have_policy => own,
            // Without a rewrite.
            Category::Bytes => {
                ValueType { name: "envelope.sealed".into(), category: Category::Sealed }
            }
            _ => self.value.clone(),
        }
    }

    /// Whether the policy says a type: bytes that come as bytes have none.
    fn typed(&self) -> bool {
        self.value.category != Category::Bytes
    }

    /// The tag, where it must be said.
    pub fn known_tag(&self, facts: &Facts) -> String {
        let column = if self.form == Form::Source { &self.target.plain } else { &self.column.name };
        self.tag.clone().unwrap_or_else(|| format!("{}.{column}", facts.plain_name))
    }

    /// Whether `policy` says of the target what is wished.
    pub fn is_as(&self, facts: &Facts, policy: &Policy) -> bool {
        let bound = self.bind.iter().map(|column| &column.name);
        let source = (!self.is_in_place()).then_some(&self.column.name);
        let (form, value) = match (source, self.form) {
            (Some(_), _) | (_, Form::Source) => ("source", Some(&self.value.name)),
            (_, Form::Sealed) => ("sealed", Some(&self.value.name)),
            (_, Form::Bytea) => ("bytea", self.typed().then_some(&self.value.name)),
        };
        let is_tag =
            self.tag.is_none() && !self.is_renamed() || self.known_tag(facts) == policy.tag;
        policy.column == self.target.plain
            && policy.form == form
            && policy.value_type.as_ref() == value
            && policy.source.as_ref() == source
            && policy.bound.iter().eq(bound)
            && policy.block == self.block
            && policy.mask == self.mask
            && is_tag
    }

    /// `envelope.set_policy`, of the column that is called `column` then and has its plaintext in `source`.
    pub fn set_policy(&self, facts: &Facts, column: &Name, source: Option<&Name>) -> String {
        let form = match (source, self.form) {
            (Some(_), _) | (_, Form::Source) => "source",
            (_, Form::Sealed) => "sealed",
            (_, Form::Bytea) => "bytea",
        };
        let mut arguments =
            vec![facts.literal(), literal(&column.plain), format!("form => {}", literal(form))];
        if form != "bytea" || self.typed() {
            arguments.push(format!("value_type => {}", literal(&self.value.name)));
        }
        if let Some(source) = source {
            arguments.push(format!("source => {}", literal(&source.plain)));
        }
        if self.tag.is_some() || !self.bind.is_empty() || self.is_renamed() {
            arguments.push(format!("tag => {}", literal(&self.known_tag(facts))));
        }
        if !self.bind.is_empty() {
            let bound = array(self.bind.iter().map(|column| column.name.as_str()));
            arguments.push(format!("bind => {bound}"));
        }
        if let Some(block) = self.block {
            arguments.push(format!("block => {block}"));
        }
        if let Some(mask) = &self.mask {
            arguments.push(format!("mask => {}", literal(mask)));
        }
        format!("SELECT envelope.set_policy({})", arguments.join(", "))
    }
}

/// The type that values have: as it was asked for, with the modifier that is known of it, or as the policy or the
/// column itself says.
fn value_type(
    facts: &Facts,
    column: &Column,
    target: Option<&str>,
    asked: Option<ValueType>,
) -> ValueType {
    let policy =
        facts.policy(target.unwrap_or(&column.name)).or_else(|| facts.policy_about(&column.name));
    let said = policy.map(|policy| ValueType {
        name: policy.value_type.clone().unwrap_or_else(|| "bytea".into()),
        category: policy.category,
    });
    let known = said.unwrap_or_else(|| match column.category {
        // Nobody says it: text, as the type itself takes it.
        Category::Sealed => ValueType { name: "text".into(), category: Category::Text },
        category => ValueType { name: column.kind.clone(), category },
    });
    match asked {
        Some(asked) if without_modifier(&known.name) != asked.name => asked,
        _ => known,
    }
}

/// `timestamp(3) without time zone` as `timestamp without time zone`.
fn without_modifier(name: &str) -> String {
    match (name.find('('), name.rfind(')')) {
        (Some(from), Some(to)) if from < to => format!("{}{}", &name[..from], &name[to + 1..]),
        _ => name.to_owned(),
    }
}

/// Whether a trigger seals what arrives in the column itself.
fn seals_in_place(facts: &Facts, column: &Column) -> bool {
    facts.triggers.iter().any(|trigger| {
        trigger.kind == TriggerKind::Seal && trigger.arguments.contains(&column.name)
    })
}

pub fn no_column(facts: &Facts, name: &str) -> Error {
    Error::NoSuchColumn { column: name.to_owned(), table: facts.name.clone() }
}

#[cfg(test)]
mod tests {
    use super::without_modifier;

    #[test]
    fn modifiers_stand_anywhere() {
        assert_eq!(without_modifier("numeric(10,2)"), "numeric");
        assert_eq!(
            without_modifier("timestamp(3) without time zone"),
            "timestamp without time zone"
        );
        assert_eq!(without_modifier("character varying(20)[]"), "character varying[]");
        assert_eq!(without_modifier("date"), "date");
    }
}
