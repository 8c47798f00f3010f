//! Between the halves: the application changes, and what still reads plaintext goes.

use crate::adopt::plan::facts::{Category, Facts, Use};
use crate::adopt::plan::obstacles;
use crate::adopt::plan::options::Options;
use crate::adopt::plan::step::{EXCLUSIVE, LOOK, NO_CHANGE, Step};
use crate::adopt::plan::text::literal;
use crate::adopt::plan::wish::{Form, Wish};

/// Whether the view is made when the columns have been swapped: before, it would hold up what is renamed.
pub fn is_view_later(wishes: &[&Wish<'_>]) -> bool {
    wishes.iter().any(|wish| wish.is_renamed())
}

/// The view that was asked for.
pub fn view(facts: &Facts, options: &Options) -> Option<Step> {
    let sql = format!(
        "SELECT envelope.open_view({}, {}, execute => true)",
        facts.literal(),
        literal(options.view.as_ref()?)
    );
    Some(Step::run(sql, LOOK, "the table with its values opened, under its columns' own names"))
}

/// That the application is ready.
pub fn switched(facts: &Facts, wishes: &[Wish<'_>]) -> Vec<Step> {
    let mut steps = Vec::new();
    let all: Vec<_> = wishes
        .iter()
        .map(|wish| match wish.form {
            Form::Source => format!(
                "reads {0} by {1}, writes plaintext to {2} as before, and sets {0} = NULL, too, where it writes NULL",
                wish.target.quoted,
                reader(wish),
                wish.column.quoted
            ),
            _ => format!("reads {} by {}", wish.column.quoted, reader(wish)),
        })
        .collect();
    let renamed = wishes.iter().any(Wish::is_renamed);
    let when = if renamed { "with the next step" } else { "before the next step" };
    steps.push(Step::wait(format!(
        "the application changes {when}: it {}. No version that reads plaintext may be left",
        all.join("; ")
    )));
    steps.extend(obstacles::late(facts, wishes).into_iter().map(|used| late(facts, used)));
    steps
}

fn reader(wish: &Wish<'_>) -> &'static str {
    match wish.value.category {
        Category::Text => "envelope_decrypt_text",
        Category::Other => "envelope_decrypt_as",
        _ => "envelope_decrypt",
    }
}

const UNTIL_UNUSED: &str = "SHARE UPDATE EXCLUSIVE, until who uses it now has ended";

/// Something that still reads the plaintext.
fn late(facts: &Facts, used: &Use) -> Step {
    let remove = &used.remove;
    let Some(make) = &used.make else {
        return Step::wait(format!(
            "{} {} still reads the plaintext: make it anew over the opened value, or {remove}",
            used.kind, used.name
        ));
    };
    if used.is_only_unique {
        let (remove, lock, outside) = match remove.strip_prefix("DROP INDEX") {
            Some(index) if !facts.is_partitioned => {
                (format!("DROP INDEX CONCURRENTLY{index}"), UNTIL_UNUSED, "outside BEGIN; ")
            }
            _ => (remove.clone(), EXCLUSIVE, ""),
        };
        let remark = format!(
            "drops {} {}: the search index keeps values unique by now; {outside}it was: {make}",
            used.kind, used.name
        );
        return Step::run(remove, lock, &remark);
    }
    if remove.starts_with("DROP INDEX") && !facts.is_partitioned {
        return Step::run(
            remove.replacen("DROP INDEX", "DROP INDEX CONCURRENTLY", 1),
            UNTIL_UNUSED,
            &format!(
                "drops an index: over sealed values it finds nothing; outside BEGIN; it was: {make}"
            ),
        );
    }
    let lock = if remove.starts_with("DROP INDEX") { EXCLUSIVE } else { NO_CHANGE };
    Step::run(
        remove,
        lock,
        &format!(
            "drops {} {}: over sealed values it is of no use, and it holds plaintext; it was: {make}",
            used.kind, used.name
        ),
    )
}
