//! The sealing triggers of a table: which one takes another column, what a new one is called.

use super::facts::{Facts, Trigger, TriggerKind};
use super::text::{joined, literal};
use crate::error::{Error, Result};

/// The trigger that does what `kind` says with `arguments`, if there is one that does it always.
pub fn with<'a>(facts: &'a Facts, kind: TriggerKind, argument: &str) -> Option<&'a Trigger> {
    let is_it = |trigger: &&Trigger| {
        trigger.kind == kind
            && trigger.is_whole()
            && trigger.arguments.iter().any(|one| one == argument)
    };
    facts.triggers.iter().find(is_it)
}

/// Makes `arguments` those of a trigger of that kind: of one that is there, and the last to see the row, or of a
/// new one, which is.
pub fn create(facts: &Facts, kind: TriggerKind, arguments: &[String]) -> Result<String> {
    let (quoted, all) = with_more(facts, kind, arguments)?;
    Ok(statement(facts, kind, &quoted, &all))
}

/// Takes `arguments` away from the trigger that [`create`] has made, or has found them in.
pub fn take_back(facts: &Facts, kind: TriggerKind, arguments: &[String]) -> Result<String> {
    let (quoted, all) = with_more(facts, kind, arguments)?;
    let left: Vec<_> = all.into_iter().filter(|one| !arguments.contains(one)).collect();
    Ok(match left.is_empty() {
        true => format!("DROP TRIGGER {quoted} ON {}", facts.name),
        false => statement(facts, kind, &quoted, &left),
    })
}

/// The name of the trigger that takes `arguments`, and all of its.
fn with_more(
    facts: &Facts,
    kind: TriggerKind,
    arguments: &[String],
) -> Result<(String, Vec<String>)> {
    let others = |trigger: &&Trigger| trigger.sees_rows() && trigger.kind == TriggerKind::Other;
    let last = facts.triggers.iter().rfind(others);
    let is_last = |name: &str| last.is_none_or(|last| name.as_bytes() > last.name.as_bytes());
    let ours =
        |trigger: &&Trigger| trigger.kind == kind && trigger.is_whole() && is_last(&trigger.name);
    if let Some(ours) = facts.triggers.iter().rfind(ours) {
        let mut all = ours.arguments.clone();
        let is_new = |argument: &&String| !ours.arguments.contains(argument);
        all.extend(arguments.iter().filter(is_new).cloned());
        return Ok((ours.quoted.clone(), all));
    }
    let base = function(kind);
    let is_free = |name: &str| !facts.triggers.iter().any(|trigger| trigger.name == name);
    let mut names = vec![base.to_owned(), format!("zz_{base}"), format!("~{base}")];
    // Longer than a name that it begins with: it comes after that.
    names.extend(last.map(|last| joined(&last.name, "_seal")));
    let name = names.into_iter().find(|name| is_last(name) && is_free(name)).ok_or_else(|| {
        Error::BadArgument(format!(
            "no trigger of table {} can come after trigger {}: give that another name",
            facts.name,
            last.map(|last| last.quoted.as_str()).unwrap_or_default()
        ))
    })?;
    Ok(((facts.quote)(&name), arguments.to_vec()))
}

/// Takes `arguments` away from all sealing triggers; those that are left with none go.
pub fn remove(facts: &Facts, arguments: &[String]) -> Vec<String> {
    let mut statements = Vec::new();
    for trigger in facts.triggers.iter().filter(|trigger| trigger.kind != TriggerKind::Other) {
        let all = &trigger.arguments;
        let left: Vec<_> = all.iter().filter(|one| !arguments.contains(one)).cloned().collect();
        if left.len() == all.len() {
            continue;
        }
        if left.is_empty() {
            statements.push(format!("DROP TRIGGER {} ON {}", trigger.quoted, facts.name));
            continue;
        }
        statements.push(statement(facts, trigger.kind, &trigger.quoted, &left));
        // Which a trigger that is replaced forgets.
        let state = match trigger.enabled {
            'A' => "ENABLE ALWAYS",
            'R' => "ENABLE REPLICA",
            'D' => "DISABLE",
            _ => continue,
        };
        statements.push(format!("ALTER TABLE {} {state} TRIGGER {}", facts.name, trigger.quoted));
    }
    statements
}

/// The other triggers that see plaintext before ours, and those that see the row after it is sealed.
pub fn others(facts: &Facts) -> (Vec<&str>, Vec<&str>) {
    let others = facts.triggers.iter().filter(|trigger| trigger.kind == TriggerKind::Other);
    let (before, after): (Vec<_>, Vec<_>) = others
        .filter(|trigger| trigger.enabled != 'D' && (trigger.on_insert || trigger.on_update))
        .partition(|trigger| trigger.sees_rows());
    (names(before), names(after))
}

fn names(triggers: Vec<&Trigger>) -> Vec<&str> {
    triggers.into_iter().map(|trigger| trigger.quoted.as_str()).collect()
}

fn statement(facts: &Facts, kind: TriggerKind, quoted: &str, arguments: &[String]) -> String {
    let function = function(kind);
    let arguments: Vec<_> = arguments.iter().map(|argument| literal(argument)).collect();
    format!(
        "CREATE OR REPLACE TRIGGER {quoted} BEFORE INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION {}.{function}({})",
        facts.name,
        facts.schema,
        arguments.join(", ")
    )
}

fn function(kind: TriggerKind) -> &'static str {
    if kind == TriggerKind::Mirror { "envelope_mirror" } else { "envelope_seal" }
}
