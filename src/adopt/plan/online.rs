//! For a table that is in use: a second column is filled beside the first one, which both versions of an application
//! can go on with, and takes its place when none needs it any more. What is done already is left out.

use super::facts::{Category, Facts, Role, TriggerKind};
use super::in_place::argument;
use super::options::Options;
use super::step::{BATCHES, EXCLUSIVE, LOOK, NO_CHANGE, NO_LOCK, NO_WRITES, ONE_READ, SWAP, Step};
use super::text::{Name, alter_table, as_one, literal};
use super::wish::{Form, Wish};
use super::{carried, obstacles, triggers, values};
use crate::error::Result;

/// The steps, from what there is now.
pub fn steps(facts: &Facts, wishes: &[Wish<'_>], options: &Options) -> Result<Vec<Step>> {
    let (in_place, beside): (Vec<_>, Vec<_>) = wishes.iter().partition(|wish| wish.is_in_place());
    let mut steps = keys(facts, wishes);
    if !beside.is_empty() {
        if beside.iter().any(|wish| !is_sealing(facts, wish)) {
            steps.extend(filled(facts, &beside, options)?);
            let (mut before, mut after) = (view(facts, options), None);
            if is_view_later(&beside) {
                std::mem::swap(&mut before, &mut after);
            }
            steps.extend(before);
            steps.extend(switched(facts, wishes));
            steps.extend(swapped(facts, &beside, options)?);
            steps.extend(after);
        }
        steps.extend(emptied(facts, &beside, options));
    }
    if !in_place.is_empty() {
        steps.extend(where_they_stand(facts, &in_place, options)?);
        if beside.is_empty() {
            steps.extend(view(facts, options));
            steps.extend(switched(facts, wishes));
        }
    }
    steps.push(disk(facts));
    Ok(steps)
}

/// The key, and who may use it.
pub fn keys(facts: &Facts, wishes: &[Wish<'_>]) -> Vec<Step> {
    let mut steps = Vec::new();
    let table = facts.literal();
    if !facts.has_key {
        steps.push(Step::run(
            format!("SELECT envelope.create_key({table})"),
            NO_LOCK,
            "asks the KMS once",
        ));
    }
    for role in &facts.roles {
        let reads =
            role.reads_all || wishes.iter().any(|wish| role.reads.contains(&wish.column.name));
        for (needs, verb, does) in [(role.writes, "encrypt", "writes"), (reads, "decrypt", "reads")]
        {
            if needs {
                steps.push(grant(&table, role, verb, does));
            }
        }
    }
    steps
}

fn grant(table: &str, role: &Role, verb: &str, does: &str) -> Step {
    match &role.name {
        Some(name) => Step::run(
            format!("SELECT envelope.grant_key({table}, {}, {})", literal(name), literal(verb)),
            NO_LOCK,
            &format!("it {does} the table today: leave it out for who shall no longer"),
        ),
        None => Step::wait(format!(
            "PUBLIC {does} the table today, and cannot have {verb}: envelope.grant_key for each role that needs it"
        )),
    }
}

/// The sealed column, filled and kept equal.
fn filled(facts: &Facts, wishes: &[&Wish<'_>], options: &Options) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let new: Vec<_> =
        wishes.iter().filter(|wish| facts.column(&wish.target.plain).is_none()).collect();
    if !new.is_empty() {
        let mut changes: Vec<_> = new
            .iter()
            .map(|wish| {
                format!("ADD COLUMN IF NOT EXISTS {} {}", wish.target.quoted, wish.target_type())
            })
            .collect();
        changes
            .extend(new.iter().flat_map(|wish| carried::storage(wish.column, &wish.target, true)));
        steps.push(Step::run(
            alter_table(&facts.name, &changes),
            EXCLUSIVE,
            "first SET lock_timeout = '2s', and try again if it is met; applications that name no columns (INSERT \
             without a list, SELECT *) see it from here on",
        ));
        for statement in new.iter().flat_map(|wish| carried::rights(facts, wish)) {
            let lock = if statement.starts_with("COMMENT") { NO_CHANGE } else { NO_LOCK };
            steps.push(Step::run(statement, lock, "as on the column that it stands for"));
        }
    }
    for wish in wishes.iter().filter(|wish| !has_policy(facts, wish)) {
        let source = wish.column.to_name();
        steps.push(Step::run(
            wish.set_policy(facts, &wish.target, Some(&source)),
            said(wish),
            "what the column is: all else asks here",
        ));
    }
    let mirrored =
        |wish: &&&Wish<'_>| triggers::with(facts, TriggerKind::Mirror, &argument(wish)).is_some();
    let arguments: Vec<_> = wishes
        .iter()
        .filter(|wish| !mirrored(wish) && !is_sealing(facts, wish))
        .map(|wish| argument(wish))
        .collect();
    if !arguments.is_empty() {
        steps.push(Step::run(
            triggers::create(facts, TriggerKind::Mirror, &arguments)?,
            NO_WRITES,
            &seen_by_others(facts),
        ));
    }
    steps.extend(checks(facts, wishes, "is_sealed"));
    for wish in wishes.iter().filter(|wish| !is_sealing(facts, wish)) {
        steps.push(Step::run(fill(facts, wish, options), BATCHES, FILL));
    }
    steps.extend(validated(facts, wishes, "is_sealed"));
    steps.extend(not_null(facts, wishes));
    for wish in wishes.iter().filter(|wish| !is_sealing(facts, wish)) {
        steps.push(compared(facts, wish));
    }
    Ok(steps)
}

/// What `envelope.set_policy` takes: that a column has no values yet it looks at while nobody writes any.
fn said(wish: &Wish<'_>) -> &'static str {
    if wish.bind.is_empty() { LOOK } else { NO_WRITES }
}

const FILL: &str = "seals what is there; commits by itself, so outside BEGIN; where it was cut off it goes on; \
                    envelope.progress shows how far it is";

fn fill(facts: &Facts, wish: &Wish<'_>, options: &Options) -> String {
    let mut arguments = vec![facts.literal(), literal(&wish.target.plain)];
    if !wish.is_in_place() {
        arguments.push(format!("source => {}", literal(&wish.column.name)));
    }
    if let Some(size) = options.batch_size {
        arguments.push(format!("batch_size => {size}"));
    }
    if options.quiet {
        arguments.push("quiet => true".into());
    }
    format!("CALL envelope.seal_column({})", arguments.join(", "))
}

/// Whether the view is made when the columns have been swapped: before, it would hold up what is renamed.
fn is_view_later(wishes: &[&Wish<'_>]) -> bool {
    wishes.iter().any(|wish| wish.is_renamed())
}

/// The view that was asked for.
fn view(facts: &Facts, options: &Options) -> Option<Step> {
    let sql = format!(
        "SELECT envelope.open_view({}, {}, execute => true)",
        facts.literal(),
        literal(options.view.as_ref()?)
    );
    Some(Step::run(sql, LOOK, "the table with its values opened, under its columns' own names"))
}

/// That the application is ready.
fn switched(facts: &Facts, wishes: &[Wish<'_>]) -> Vec<Step> {
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
    for (remove, what) in obstacles::late(facts, wishes) {
        steps.push(late(facts, remove, &what));
    }
    steps
}

fn reader(wish: &Wish<'_>) -> &'static str {
    match wish.value.category {
        Category::Text => "envelope_decrypt_text",
        Category::Other => "envelope_decrypt_as",
        _ => "envelope_decrypt",
    }
}

/// Something that still reads the plaintext.
fn late(facts: &Facts, remove: &str, what: &str) -> Step {
    if remove.starts_with("DROP INDEX") && !facts.is_partitioned {
        let concurrently = remove.replacen("DROP INDEX", "DROP INDEX CONCURRENTLY", 1);
        return Step::run(
            concurrently,
            "SHARE UPDATE EXCLUSIVE, until who uses it now has ended",
            "over sealed values it finds nothing; outside BEGIN",
        );
    }
    if remove.starts_with("DROP INDEX") || remove.starts_with("DROP STATISTICS") {
        let lock = if remove.starts_with("DROP INDEX") { EXCLUSIVE } else { NO_CHANGE };
        return Step::run(
            remove,
            lock,
            "over sealed values it is of no use, and it holds plaintext",
        );
    }
    Step::wait(format!(
        "{what} still reads the plaintext: make it anew over the opened value, or {remove}"
    ))
}

/// From here on no plaintext is kept.
fn swapped(facts: &Facts, wishes: &[&Wish<'_>], options: &Options) -> Result<Vec<Step>> {
    let mut statements = Vec::new();
    let sealing: Vec<_> = wishes.iter().filter(|wish| !is_sealing(facts, wish)).collect();
    let mirrored: Vec<_> = sealing.iter().map(|wish| argument(wish)).collect();
    statements.extend(sealing.iter().map(|wish| require_filled(facts, wish)));
    statements.push(triggers::take_back(facts, TriggerKind::Mirror, &mirrored)?);
    let mut changes = Vec::new();
    let is_later = is_view_later(wishes);
    for wish in &sealing {
        let (source, target) = (&wish.column.quoted, &wish.target.quoted);
        if wish.is_renamed() {
            let (table, former) = (facts.literal(), literal(&wish.target.plain));
            let now = literal(&wish.column.name);
            statements.push(format!("SELECT envelope.drop_policy({table}, {former})"));
            statements.push(format!("SELECT envelope.unregister_column({table}, {former})"));
            statements.push(alter_table(&facts.name, &[format!("DROP COLUMN {source}")]));
            statements
                .push(alter_table(&facts.name, &[format!("RENAME COLUMN {target} TO {source}")]));
            if let Some(default) = &wish.column.default {
                let default = carried::default(wish).unwrap_or_else(|| default.clone());
                changes.push(format!("ALTER COLUMN {source} SET DEFAULT {default}"));
            }
            statements.push(wish.set_policy(facts, &wish.column.to_name(), None));
            if !wish.bind.is_empty() {
                // They were sealed under it from the first one on.
                statements.push(format!("SELECT envelope.binding_done({table}, {now})"));
            }
            continue;
        }
        if wish.column.not_null {
            changes.push(format!("ALTER COLUMN {source} DROP NOT NULL"));
        }
        // Where the view comes after, none may read it.
        if let Some(view) = options.view.as_ref().filter(|_| !is_later) {
            statements.push(require_unread(facts, wish, view));
        } else {
            // To its own type: that fails while anything reads the column.
            let collation = wish.column.collation.as_ref().map(|name| format!(" COLLATE {name}"));
            let (kind, collation) = (&wish.column.kind, collation.unwrap_or_default());
            changes.push(format!("ALTER COLUMN {source} TYPE {kind}{collation}"));
        }
        changes.extend(carried::storage(wish.column, &wish.column.to_name(), false));
        changes
            .extend(carried::check_empty(facts, &wish.column.to_name()).into_iter().map(not_valid));
    }
    let arguments: Vec<_> = sealing
        .iter()
        .map(|wish| if wish.is_renamed() { wish.column.name.clone() } else { argument(wish) })
        .collect();
    if !changes.is_empty() {
        statements.push(alter_table(&facts.name, &changes));
    }
    statements.push(triggers::create(facts, TriggerKind::Seal, &arguments)?);
    let is_kept = sealing.iter().any(|wish| !wish.is_renamed());
    let remark = match is_kept {
        true => "one transaction; fails while a view or function still reads the plaintext",
        false => "one transaction; the way back is envelope.unprotect from here on",
    };
    Ok(vec![Step::run(as_one(&statements), SWAP, remark)])
}

/// Fails while a value has no sealed one beside it. Who runs the steps one after the other may not have seen that the one
/// that fills the column has failed.
fn require_filled(facts: &Facts, wish: &Wish<'_>) -> String {
    let (source, target) = (&wish.column.quoted, &wish.target.quoted);
    let message = literal(&format!(
        "table {} has values in column {source} that are not sealed in column {target} yet",
        facts.name
    ));
    let hint = literal(&format!(
        "Nothing has changed. First: {}.",
        fill(facts, wish, &Options::default())
    ));
    format!(
        "IF EXISTS (SELECT FROM {} WHERE {source} IS NOT NULL AND {target} IS NULL) THEN
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = {message}, HINT = {hint};
  END IF",
        facts.name
    )
}

/// Fails while a view, a function or a row policy reads the plaintext; the one view that is to write it does not count.
fn require_unread(facts: &Facts, wish: &Wish<'_>, view: &str) -> String {
    let (table, column, view) = (facts.literal(), literal(&wish.column.name), literal(view));
    let message =
        literal(&format!("something but the view still reads column {}", wish.column.quoted));
    format!(
        "IF EXISTS (
    SELECT FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    LEFT JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objid
    WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = {table}::regclass AND a.attname = {column}
      AND (r.ev_class <> {view}::regclass OR d.classid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_policy'::regclass)))
  THEN
    RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist', MESSAGE = {message};
  END IF"
    )
}

/// The plaintext that is left in columns that stay.
fn emptied(facts: &Facts, wishes: &[&Wish<'_>], options: &Options) -> Vec<Step> {
    let kept: Vec<_> = wishes.iter().copied().filter(|wish| !wish.is_renamed()).collect();
    let mut steps = Vec::new();
    for wish in &kept {
        if facts.check("must_be_empty", &wish.column.name).is_some_and(|check| check.valid) {
            continue;
        }
        steps.push(Step::run(fill(facts, wish, options), BATCHES, EMPTY));
    }
    let proved = validated(facts, &kept, "must_be_empty");
    if !proved.is_empty() {
        let columns: Vec<_> = kept.iter().map(|wish| wish.column.quoted.as_str()).collect();
        steps.extend(proved);
        steps.push(Step::run(
            format!("ANALYZE {} ({})", facts.name, columns.join(", ")),
            "SHARE UPDATE EXCLUSIVE, while the table is sampled; reads and writes go on",
            "what statistics had sampled of the plaintext goes",
        ));
    }
    steps
}

const EMPTY: &str = "empties the column that plaintext came in by; as above";

/// For columns whose values are sealed where they stand.
fn where_they_stand(facts: &Facts, wishes: &[&Wish<'_>], options: &Options) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let retyped: Vec<_> = wishes
        .iter()
        .filter(|wish| wish.form == Form::Sealed && wish.column.category == Category::Bytes)
        .map(|wish| format!("ALTER COLUMN {} TYPE envelope.sealed", wish.target.quoted))
        .collect();
    if !retyped.is_empty() {
        steps.push(Step::run(
            alter_table(&facts.name, &retyped),
            EXCLUSIVE,
            "rewrites nothing; drivers see another type",
        ));
    }
    for wish in wishes.iter().filter(|wish| !has_policy(facts, wish)) {
        steps.push(Step::run(
            wish.set_policy(facts, &wish.target, None),
            said(wish),
            "what the column is: all else asks here",
        ));
    }
    let sealing =
        |wish: &&&Wish<'_>| triggers::with(facts, TriggerKind::Seal, &argument(wish)).is_some();
    let arguments: Vec<_> =
        wishes.iter().filter(|wish| !sealing(wish)).map(|wish| argument(wish)).collect();
    if !arguments.is_empty() {
        steps.push(Step::run(
            triggers::create(facts, TriggerKind::Seal, &arguments)?,
            NO_WRITES,
            &format!(
                "from here on new values are sealed, and the application must read both; {}",
                seen_by_others(facts)
            ),
        ));
    }
    steps.extend(checks(facts, wishes, "is_sealed"));
    for wish in wishes {
        let is_done = facts.check("is_sealed", &wish.target.plain).is_some_and(|check| check.valid);
        if !is_done {
            steps.push(Step::run(fill(facts, wish, options), BATCHES, FILL));
        }
    }
    steps.extend(validated(facts, wishes, "is_sealed"));
    Ok(steps)
}

/// The CHECKs that are not there, for new rows.
fn checks(facts: &Facts, wishes: &[&Wish<'_>], function: &str) -> Vec<Step> {
    let missing = wishes.iter().filter(|wish| facts.check(function, &wish.target.plain).is_none());
    let added: Vec<String> = missing
        .flat_map(|wish| {
            let name = checked_name(facts, wish, function);
            let mut changes = vec![format!("DROP CONSTRAINT IF EXISTS {}", name.quoted)];
            changes.extend(carried::check_sealed(facts, &wish.target).into_iter().map(not_valid));
            changes
        })
        .collect();
    if added.is_empty() {
        return Vec::new();
    }
    vec![Step::run(
        alter_table(&facts.name, &added),
        EXCLUSIVE,
        "holds for new rows at once: plaintext no longer gets in, by whatever way",
    )]
}

fn validated(facts: &Facts, wishes: &[&Wish<'_>], function: &str) -> Vec<Step> {
    let column = |wish: &Wish<'_>| match function {
        "must_be_empty" => wish.column.name.clone(),
        _ => wish.target.plain.clone(),
    };
    let invalid = wishes
        .iter()
        .filter(|wish| !facts.check(function, &column(wish)).is_some_and(|check| check.valid));
    let changes: Vec<_> = invalid
        .map(|wish| format!("VALIDATE CONSTRAINT {}", checked_name(facts, wish, function).quoted))
        .collect();
    if changes.is_empty() {
        return Vec::new();
    }
    vec![Step::run(
        alter_table(&facts.name, &changes),
        ONE_READ,
        "proves it of all rows; not in the transaction of an earlier step",
    )]
}

/// The CHECK that is there, or the name that one gets.
fn checked_name(facts: &Facts, wish: &Wish<'_>, function: &str) -> Name {
    let (column, ending) = match function {
        "must_be_empty" => (&wish.column.name, "_is_empty"),
        _ => (&wish.target.plain, "_is_sealed"),
    };
    match facts.check(function, column) {
        Some(check) => Name { plain: check.name.clone(), quoted: check.quoted.clone() },
        None => facts.name(&carried::free_constraint(facts, column, ending)),
    }
}

fn not_valid(change: String) -> String {
    if change.starts_with("ADD CONSTRAINT") { format!("{change} NOT VALID") } else { change }
}

/// NOT NULL without a scan under a strong lock.
fn not_null(facts: &Facts, wishes: &[&Wish<'_>]) -> Vec<Step> {
    let is_left = |wish: &&&Wish<'_>| {
        let target = facts.column(&wish.target.plain);
        wish.column.not_null && !target.is_some_and(|target| target.not_null)
    };
    let left: Vec<_> = wishes.iter().filter(is_left).collect();
    if left.is_empty() {
        return Vec::new();
    }
    let (mut add, mut validate, mut set) = (Vec::new(), Vec::new(), Vec::new());
    for wish in left {
        let target = &wish.target;
        let name = facts.name(&carried::free_constraint(facts, &target.plain, "_not_null")).quoted;
        add.push(format!("DROP CONSTRAINT IF EXISTS {name}"));
        add.push(format!("ADD CONSTRAINT {name} CHECK ({} IS NOT NULL) NOT VALID", target.quoted));
        validate.push(format!("VALIDATE CONSTRAINT {name}"));
        set.push(format!("ALTER COLUMN {} SET NOT NULL", target.quoted));
        set.push(format!("DROP CONSTRAINT {name}"));
    }
    vec![
        Step::run(alter_table(&facts.name, &add), EXCLUSIVE, "on the way to NOT NULL"),
        Step::run(alter_table(&facts.name, &validate), ONE_READ, "as above"),
        Step::run(
            alter_table(&facts.name, &set),
            EXCLUSIVE,
            "reads no row: the constraint has proved it",
        ),
    ]
}

/// Whether both columns are equal.
fn compared(facts: &Facts, wish: &Wish<'_>) -> Step {
    let bound: Vec<_> =
        wish.bind.iter().map(|column| (column.quoted.clone(), column.category)).collect();
    let context = values::context(facts, &wish.known_tag(facts), &bound);
    let opened = values::opened(facts, &wish.target, &wish.value, context.as_deref());
    Step::run(
        format!(
            "SELECT count(*) AS must_be_0 FROM {} WHERE ({opened})::text IS DISTINCT FROM {}::text",
            facts.name, wish.column.quoted
        ),
        "ACCESS SHARE, while the table is read once; reads and writes go on",
        "opens every value and compares it",
    )
}

/// What else sees the rows.
pub fn seen_by_others(facts: &Facts) -> String {
    let (before, after) = triggers::others(facts);
    let mut remarks = vec!["new and changed rows are sealed from here on".to_owned()];
    if !before.is_empty() {
        remarks.push(format!("triggers that see the plaintext before: {}", before.join(", ")));
    }
    if !after.is_empty() {
        remarks.push(format!("triggers that see sealed values: {}", after.join(", ")));
    }
    if !facts.published.is_empty() {
        remarks.push(format!(
            "published by {}: subscribers need the column, too",
            facts.published.join(", ")
        ));
    }
    remarks.join("; ")
}

/// What no statement here does.
fn disk(facts: &Facts) -> Step {
    Step::wait(format!(
        "plaintext is still in the pages of the table and of pg_statistic, in WAL and in backups, until they are gone: VACUUM (FULL, ANALYZE) {} \
         (ACCESS EXCLUSIVE, while it is rewritten) or pg_repack; then a new base backup, and the old ones go. Copies in \
         other tables, logs and queues are yours to find",
        facts.name
    ))
}

fn has_policy(facts: &Facts, wish: &Wish<'_>) -> bool {
    facts.policy(&wish.target.plain).is_some_and(|policy| wish.is_as(facts, policy))
}

/// Whether a trigger seals and keeps no plaintext.
fn is_sealing(facts: &Facts, wish: &Wish<'_>) -> bool {
    triggers::with(facts, TriggerKind::Seal, &argument(wish)).is_some()
}
