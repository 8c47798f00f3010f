//! The statements, from facts that are made up.

use serde_json::{Value, json};

use super::facts::Facts;
use super::options::Options;
use super::wish::Wish;
use super::{in_place, indexes, obstacles, online, triggers};
use crate::error::{Error, Result};

fn quoted(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_plain { name.into() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn column(name: &str, kind: &str, category: &str) -> Value {
    json!({"name": name, "quoted": quoted(name), "type": kind, "category": category, "not_null": false,
           "domain_not_null": false, "identity": false, "generated": false, "inherited": false, "grants": []})
}

fn trigger(name: &str, kind: &str, arguments: &[&str]) -> Value {
    json!({"name": name, "quoted": quoted(name), "enabled": "O", "is_row": true, "is_before": true, "on_insert": true,
           "on_update": true, "is_narrow": false, "kind": kind, "arguments": arguments})
}

/// A table `s.t (id int, ssn text, born date)`, and what `more` says otherwise.
fn facts(more: Value) -> Facts {
    let mut all = json!({
        "schema": "public", "name": "s.t", "plain_name": "t", "is_partitioned": false, "parents": [], "heirs": [],
        "rows": 0, "bytes": 0, "has_key": true, "published": [], "row_type_in": [], "triggers": [], "checks": [],
        "constraints": [], "uses": [], "roles": [], "policies": [],
        "columns": [column("id", "integer", "other"), column("ssn", "text", "text"), column("born", "date", "other")],
    });
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    let made: std::result::Result<Facts, _> = serde_json::from_value(all);
    let Ok(mut facts) = made else { unreachable!("facts of another shape") };
    facts.quote = quoted;
    facts
}

fn wishes<'a>(
    facts: &'a Facts,
    columns: &[&str],
    options: &str,
    online: bool,
) -> Result<Vec<Wish<'a>>> {
    let names: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    let options = Options::parse(options, &names)?;
    let wish = |name: &String| {
        let column = facts.column(name).ok_or(Error::NullArgument("column"))?;
        Wish::new(facts, column, options.of(name), None, online)
    };
    names.iter().map(wish).collect()
}

fn online_steps(facts: &Facts, columns: &[&str], options: &str) -> Result<Vec<String>> {
    let wishes = wishes(facts, columns, options, true)?;
    let steps = online::steps(facts, &wishes, indexes::Steps::default(), &Options::default())?;
    Ok(steps.into_iter().map(|step| step.sql.unwrap_or_else(|| "people".into())).collect())
}

#[test]
fn several_columns_are_one_rewrite() -> Result<()> {
    let facts = facts(json!({}));
    let wishes = wishes(&facts, &["ssn", "born"], r#"{"bind": ["id"]}"#, false)?;
    let statements = in_place::statements(&facts, &wishes)?;
    let rewrites: Vec<_> = statements.iter().filter(|one| one.contains(" TYPE ")).collect();
    assert_eq!(rewrites.len(), 1);
    assert_eq!(
        *rewrites[0],
        "ALTER TABLE s.t ALTER COLUMN ssn TYPE envelope.sealed USING (envelope.sealed_from_source('s.t'::regclass, \
         NULL, public.envelope_context('t.ssn', id::text), NULL, 'ssn', NULL, ssn))::envelope.sealed, ADD CONSTRAINT ssn_is_sealed CHECK \
         (envelope.is_sealed(ssn)), ALTER COLUMN born_sealed TYPE envelope.sealed USING CASE WHEN born IS NULL THEN \
         born_sealed ELSE envelope.sealed_from_source('s.t'::regclass, NULL, public.envelope_context('t.born_sealed', \
         id::text), NULL, 'born_sealed', NULL, born)::envelope.sealed END, ALTER COLUMN born TYPE date USING NULL::date, ADD CONSTRAINT born_is_empty \
         CHECK (envelope.must_be_empty(born)), ADD CONSTRAINT born_sealed_is_sealed CHECK \
         (envelope.is_sealed(born_sealed))"
    );
    assert!(statements.iter().any(|one| one.ends_with("envelope_seal('ssn', 'born_sealed=born')")));
    Ok(())
}

#[test]
fn what_is_done_is_left_out() -> Result<()> {
    let all = online_steps(&facts(json!({})), &["born"], "{}")?;
    let begun = json!({
        "columns": [column("born", "date", "other"), column("born_sealed", "envelope.sealed", "sealed")],
        "policies": [{"column": "born_sealed", "form": "source", "value_type": "date", "category": "other",
                      "source": "born", "tag": "t.born_sealed", "bound": []}],
        "triggers": [trigger("envelope_mirror", "mirror", &["born_sealed=born"])],
    });
    let left = online_steps(&facts(begun.clone()), &["born"], "{}")?;
    assert_eq!(left, all[3..]);
    let mut sealing = begun;
    sealing["triggers"] = json!([trigger("envelope_seal", "seal", &["born_sealed=born"])]);
    let left = online_steps(&facts(sealing), &["born"], "{}")?;
    let calls = left.iter().filter(|one| one.starts_with("CALL envelope.seal_column")).count();
    assert!(calls == 1 && !left.iter().any(|one| one.contains("TRIGGER")), "{left:?}");
    Ok(())
}

#[test]
fn a_trigger_takes_another_column_if_it_comes_last() -> Result<()> {
    use super::facts::TriggerKind::Seal;
    let more = |triggers: Value| {
        let facts = facts(json!({ "triggers": triggers }));
        triggers::create(&facts, Seal, &["b".into()])
    };
    let made = |name: &str, arguments: &str| {
        format!(
            "CREATE OR REPLACE TRIGGER {name} BEFORE INSERT OR UPDATE ON s.t FOR EACH ROW EXECUTE FUNCTION \
             public.envelope_seal({arguments})"
        )
    };
    assert_eq!(more(json!([]))?, made("envelope_seal", "'b'"));
    assert_eq!(more(json!([trigger("seal", "seal", &["a"])]))?, made("seal", "'a', 'b'"));
    let other = |name| trigger(name, "other", &[]);
    assert_eq!(
        more(json!([other("audit"), trigger("seal", "seal", &["a"])]))?,
        made("seal", "'a', 'b'")
    );
    assert_eq!(
        more(json!([trigger("seal", "seal", &["a"]), other("stamp")]))?,
        made("zz_envelope_seal", "'b'")
    );
    assert_eq!(more(json!([other("zzz")]))?, made("\"~envelope_seal\"", "'b'"));
    assert_eq!(more(json!([other("é")]))?, made("\"é_seal\"", "'b'"));
    let mut narrow = trigger("seal", "seal", &["a"]);
    narrow["is_narrow"] = json!(true);
    assert_eq!(more(json!([narrow]))?, made("envelope_seal", "'b'"));
    Ok(())
}

#[test]
fn a_trigger_of_several_columns_keeps_the_others() {
    let mut always = trigger("seal", "seal", &["a", "b"]);
    always["enabled"] = json!("A");
    let facts = facts(json!({ "triggers": [always, trigger("other", "seal", &["b"])] }));
    assert_eq!(
        triggers::remove(&facts, &["b".into()]),
        [
            "CREATE OR REPLACE TRIGGER seal BEFORE INSERT OR UPDATE ON s.t FOR EACH ROW EXECUTE FUNCTION \
         public.envelope_seal('a')",
            "ALTER TABLE s.t ENABLE ALWAYS TRIGGER seal",
            "DROP TRIGGER other ON s.t",
        ]
    );
}

#[test]
fn what_can_go_later_holds_up_no_plan_that_is_done_online() -> Result<()> {
    let used = |kind: &str| json!({"uses": [{"column": "ssn", "kind": kind, "name": "s.x", "remove": "DROP SOMETHING s.x"}]});
    for (kind, is_late) in
        [("view", true), ("index", true), ("UNIQUE constraint", false), ("rule", false)]
    {
        let facts = facts(used(kind));
        for online in [false, true] {
            let wishes = wishes(&facts, &["ssn"], "{}", online)?;
            let passed = obstacles::check(&facts, &wishes, online).is_ok();
            assert_eq!(passed, online && is_late, "{kind} {online}");
        }
        // Where the column is sealed as it stands there is no later.
        let wishes = wishes(&facts, &["ssn"], r#"{"target": "ssn"}"#, true)?;
        assert!(obstacles::check(&facts, &wishes, true).is_err());
    }
    Ok(())
}

#[test]
fn names_of_constraints_are_free_ones() {
    let check = |name: &str| json!({"name": name, "quoted": name, "valid": true, "is_enforced": true, "expression": "(a > 1)"});
    let checks = [check("ssn_is_sealed")];
    let facts =
        facts(json!({ "checks": checks, "constraints": ["ssn_is_sealed", "ssn_is_sealed1"] }));
    assert_eq!(super::carried::free_constraint(&facts, "ssn", "_is_sealed"), "ssn_is_sealed2");
    assert!(facts.check("is_sealed", "ssn").is_none());
}
