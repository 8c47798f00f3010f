//! The search indexes of columns that are to be protected, once all values are sealed. Where those stand beside the
//! plaintext first, the indexes come before readers change over: there is no moment without an answer, nor without
//! uniqueness.

use std::ffi::CString;

use pgrx::pg_sys;
use serde_json::{Map, Value};

use super::facts::Facts;
use super::step::{BATCHES, EXCLUSIVE, NO_CHANGE, Step};
use super::text::{as_one, literal};
use super::wish::Wish;
use crate::adopt::index::{
    OwnIndex, UniqueBeside, build_statement, has_valid_index, invalid_index, readers, usual_names,
};
use crate::catalog::rows::{self, IndexRow};
use crate::catalog::shards;
use crate::error::{Error, Result};
use crate::pg::encoding;

const READ_TWICE: &str =
    "SHARE UPDATE EXCLUSIVE, while the table is read twice; reads and writes go on";
const NO_WRITES_MEANWHILE: &str = "SHARE, while the table is read; writes wait";
/// What `envelope.add_index` takes beside its options.
const TEXTS: [&str; 5] = ["kind", "form", "index_column", "label", "keys_of"];
const FLAGS: [&str; 2] = ["share_label", "force"];

/// An index that a column is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfIndex {
    kind: String,
    index_column: Option<String>,
    form: Option<String>,
    /// The other arguments, by name, as SQL.
    others: Vec<(String, String)>,
    /// As JSON.
    options: Map<String, Value>,
}

impl OfIndex {
    /// From an array of objects.
    pub fn parse_all(value: &Value) -> Result<Vec<OfIndex>> {
        let bad = || {
            Error::BadArgument(
                "option indexes must be an array of objects, each with a kind, and with other arguments and options of \
                 envelope.add_index"
                    .into(),
            )
        };
        let all = value.as_array().ok_or_else(bad)?;
        let parsed = all.iter().map(|one| one.as_object().and_then(OfIndex::parse).ok_or_else(bad));
        parsed.collect()
    }

    fn parse(entries: &Map<String, Value>) -> Option<OfIndex> {
        let text = |key: &str| entries.get(key).map(|value| value.as_str().map(str::to_owned));
        let mut index = OfIndex {
            kind: text("kind")??,
            index_column: None,
            form: None,
            others: Vec::new(),
            options: Map::new(),
        };
        for (key, value) in entries {
            match key.as_str() {
                "kind" => {}
                "index_column" => index.index_column = Some(value.as_str()?.to_owned()),
                "form" => index.form = Some(value.as_str()?.to_owned()),
                key if TEXTS.contains(&key) => {
                    index.others.push((key.to_owned(), literal(value.as_str()?)));
                }
                key if FLAGS.contains(&key) => {
                    index.others.push((key.to_owned(), value.as_bool()?.to_string()));
                }
                key => {
                    index.options.insert(key.to_owned(), value.clone());
                }
            }
        }
        Some(index)
    }

    fn is_tokens(&self) -> bool {
        ["words", "parts", "tree"].iter().any(|kind| self.kind.starts_with(kind))
    }

    /// Whether it is to keep values unique.
    pub fn is_unique(&self) -> bool {
        self.options.get("unique").and_then(Value::as_bool) == Some(true)
    }

    /// Whether it is that one, which is there.
    fn is(&self, index: &IndexRow) -> bool {
        let (kind, form) = index.rule.split_once(' ').unwrap_or(("exact", &index.rule));
        let form = form.trim_end_matches("/1");
        let is_named = self
            .index_column
            .as_ref()
            .is_none_or(|name| *name == encoding::to_string(index.index_column.to_bytes()));
        let is_kind = match self.kind.as_str() {
            "parts" => kind == "parts(3)",
            "tree" => kind.starts_with("tree("),
            its => kind == its,
        };
        is_named && is_kind && self.form.as_ref().is_none_or(|its| its == form)
    }
}

/// The steps that add indexes, in their order.
#[derive(Default)]
pub struct Steps(Vec<(Place, Step)>);

/// Where a column of sealed values is when it gets its index.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Beside the plaintext, which goes on to answer questions until readers change over.
    Beside,
    /// In the place of it.
    InPlace,
}

impl Steps {
    /// Where nothing stands between.
    pub fn all(self) -> Vec<Step> {
        self.0.into_iter().map(|(_, step)| step).collect()
    }

    /// Takes out those of the columns there.
    pub fn take(&mut self, place: Place) -> Vec<Step> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|it| it.0 == place);
        self.0 = left;
        Steps(taken).all()
    }
}

/// The steps that add them to the columns of `wishes`, as far as they are not there. Where the plan `is_begun`, its first
/// steps give `decrypt` to who reads the table.
pub fn steps(
    relation: pg_sys::Oid,
    facts: &Facts,
    wishes: &[(&Wish<'_>, Vec<OfIndex>)],
    is_begun: bool,
) -> Result<Steps> {
    let there = rows::indexes(relation)?;
    let beside = UniqueBeside::of(relation)?;
    let mut taken: Vec<String> = facts.columns.iter().map(|column| column.name.clone()).collect();
    let mut all = Vec::new();
    // Before there are terms that could be read.
    let place_of =
        |wish: &Wish<'_>| if wish.is_in_place() { Place::InPlace } else { Place::Beside };
    let places = wishes.iter().filter(|it| !it.1.is_empty()).map(|(wish, _)| place_of(wish));
    let mut places: Vec<Place> = places.collect();
    places.sort_by_key(|place| *place == Place::InPlace);
    if let Some(first) = places.first() {
        let rights = rights(relation, facts, wishes, &there, is_begun)?;
        all.extend(rights.into_iter().map(|step| (*first, step)));
    }
    for (wish, wanted) in wishes {
        let mut steps = Vec::new();
        let column = &wish.target.plain;
        for index in wanted {
            let is_of = |row: &&IndexRow| {
                encoding::to_string(row.column_name.to_bytes()) == *column && index.is(row)
            };
            let found = there.iter().find(is_of);
            let name = match found {
                Some(row) => encoding::to_string(row.index_column.to_bytes()),
                None => name(index, last_name(wish), &taken)?,
            };
            taken.push(name.clone());
            if found.is_none() {
                steps.push(add(facts, wish, index, &name));
            }
            if found.is_none_or(|row| !row.built) {
                steps.push(build(facts, column, &name));
            }
            let is_unique = found.map_or(index.is_unique(), |row| row.is_unique);
            if let Some(row) = found {
                if has_valid_index(relation, &row.index_column, is_unique)? {
                    continue;
                }
                let left = invalid_index(relation, &row.index_column)?;
                steps.extend(left.map(|left| drop_invalid(facts, &left)));
            }
            steps.push(create(facts, index, is_unique, &name, &beside));
        }
        all.extend(steps.into_iter().map(|step| (place_of(wish), step)));
    }
    Ok(Steps(all))
}

/// The name of the column of sealed values when all is done.
fn last_name<'a>(wish: &'a Wish<'_>) -> &'a str {
    if wish.is_renamed() { &wish.column.name } else { &wish.target.plain }
}

/// Whoever reads all columns of the table loses those of terms, unless it may search or open values.
fn rights(
    relation: pg_sys::Oid,
    facts: &Facts,
    wishes: &[(&Wish<'_>, Vec<OfIndex>)],
    there: &[IndexRow],
    is_begun: bool,
) -> Result<Vec<Step>> {
    let is_terms = |name: &String| {
        there.iter().any(|row| encoding::to_string(row.index_column.to_bytes()) == *name)
            || wishes
                .iter()
                .flat_map(|(_, wanted)| wanted)
                .any(|index| index.index_column.as_ref() == Some(name))
    };
    // A column that is renamed later on keeps its rights.
    let mut others: Vec<String> = facts
        .columns
        .iter()
        .filter(|column| !is_terms(&column.name))
        .map(|column| column.quoted.clone())
        .collect();
    let made = wishes
        .iter()
        .map(|(wish, _)| *wish)
        .filter(|wish| facts.column(&wish.target.plain).is_none());
    others.extend(made.map(|wish| wish.target.quoted.clone()));
    let keyring = rows::sealing_keyring(shards::root(relation)?)?;
    let mut steps = Vec::new();
    for reader in readers(relation, keyring)? {
        let [revoke, grant] = reader.without_terms(&facts.name, &others);
        let role = &reader.role;
        if is_begun && !reader.is_public {
            steps.push(Step::wait(format!(
                "{role} reads all of the table: if you left out the step that gives it decrypt, and it is not to search, \
                 it must not read terms: {revoke}; {grant}"
            )));
            continue;
        }
        steps.push(Step::run(
            as_one(&[revoke, grant]),
            EXCLUSIVE,
            &format!(
                "{role} reads all other columns from here on, and no terms; its SELECT * fails (42501). Leave it out for \
                 who is to search"
            ),
        ));
    }
    Ok(steps)
}

fn name(index: &OfIndex, column: &str, taken: &[String]) -> Result<String> {
    if let Some(name) = &index.index_column {
        CString::new(name.as_str())
            .map_err(|_| Error::BadArgument("index_column is no name".into()))?;
        return Ok(name.clone());
    }
    let kind = index.kind.split('(').next().unwrap_or_default();
    usual_names(column, kind).into_iter().find(|name| !taken.contains(name)).ok_or_else(|| {
        Error::BadArgument(format!("option indexes must name an index_column for kind {kind}"))
    })
}

fn add(facts: &Facts, wish: &Wish<'_>, index: &OfIndex, name: &str) -> Step {
    let mut arguments = vec![
        facts.literal(),
        literal(&wish.target.plain),
        literal(&index.kind),
        format!("index_column => {}", literal(name)),
    ];
    arguments.extend(index.form.as_ref().map(|form| format!("form => {}", literal(form))));
    if !index.options.is_empty() {
        let options = Value::Object(index.options.clone()).to_string();
        arguments.push(format!("options => {}", literal(&options)));
    }
    arguments.extend(index.others.iter().map(|(key, value)| format!("{key} => {value}")));
    if wish.is_renamed() && index.others.iter().all(|(key, _)| key != "label") {
        let label = format!("{}.{}", facts.plain_name, last_name(wish));
        arguments.push(format!("label => {}", literal(&label)));
    }
    Step::run(
        format!("SELECT envelope.add_index({})", arguments.join(", ")),
        EXCLUSIVE,
        "from here on the trigger fills the index column; also prints the rights that who searches needs",
    )
}

fn build(facts: &Facts, column: &str, name: &str) -> Step {
    Step::run(
        build_statement(&facts.name, column, name),
        BATCHES,
        "fills it for the rows that are there; not in a transaction block",
    )
}

/// What a CREATE INDEX CONCURRENTLY that failed has left.
fn drop_invalid(facts: &Facts, left: &str) -> Step {
    let (concurrently, lock) =
        if facts.is_partitioned { ("", EXCLUSIVE) } else { ("CONCURRENTLY ", NO_CHANGE) };
    Step::run(
        format!("DROP INDEX {concurrently}{left}"),
        lock,
        "it is not valid: CREATE INDEX failed, or is still running; not in a transaction block",
    )
}

fn create(
    facts: &Facts,
    index: &OfIndex,
    is_unique: bool,
    name: &str,
    beside: &UniqueBeside,
) -> Step {
    let make =
        OwnIndex { is_unique, is_tokens: index.is_tokens(), is_partitioned: facts.is_partitioned };
    let lock = if facts.is_partitioned { NO_WRITES_MEANWHILE } else { READ_TWICE };
    let remark = match is_unique {
        true => {
            "PostgreSQL's own index; 23505 where values are there twice: it is invalid then, so drop it, mend the rows, \
                 and run it again; not in a transaction block"
        }
        false => "PostgreSQL's own index; not in a transaction block",
    };
    Step::run(make.create(&facts.name, &(facts.quote)(name), beside), lock, remark)
}
