use super::*;
use crate::custody::followed::Brought;
use crate::memory::OwnLimits;
use crate::nodes::difference::Between;
use crate::nodes::samples::{id, key, keyring, node, table};
use crate::nodes::state::{GrantState, IndexState, PolicyState};

const KEYRING: u8 = 0xa0;

/// A copy of the sample, as another node that follows it.
fn other() -> NodeState {
    let mut there = node();
    there.system_identifier = "2".into();
    there.keyrings[0].brought = Some(Brought::Imported);
    there
}

fn other_with(change: impl FnOnce(&mut NodeState)) -> NodeState {
    let mut there = other();
    change(&mut there);
    there
}

fn keys_of(keys: Vec<KeyState>) -> NodeState {
    let mut node = node();
    node.keyrings = vec![keyring(KEYRING, "public.cust", keys)];
    node
}

/// What differs, without that the node has answered.
fn kinds(here: &NodeState, there: &NodeState) -> Vec<Kind> {
    let mut found = compare(here, there, Scope::Common).into_iter();
    assert!(matches!(found.next().map(|first| first.kind), Some(Kind::Asked { .. })));
    let found: Vec<Difference> = found.collect();
    for difference in &found {
        let told = difference.message(&Between { there: "b", sync: "envelope.sync_keyrings()" });
        assert!(told.contains("node b"), "{told}");
        let about_table = difference.relation.as_deref().is_none_or(|table| told.contains(table));
        assert!(about_table || matches!(difference.kind, Kind::Provider { .. }), "{told}");
    }
    found.into_iter().map(|difference| difference.kind).collect()
}

/// As [`kinds`], of keyrings with these keys; the other one follows.
fn of_keys(here: Vec<KeyState>, there: Vec<KeyState>) -> Vec<Kind> {
    let mut other = keys_of(there);
    other.system_identifier = "2".into();
    other.keyrings[0].brought = Some(Brought::Replicated);
    kinds(&keys_of(here), &other)
}

fn active(number: u8, version: i32, elsewhere: Option<State>) -> Option<Active> {
    Some(Active { key_id: id(number), version, elsewhere })
}

#[test]
fn nodes_that_agree() {
    assert_eq!(kinds(&node(), &other()), []);
    let found = compare(&node(), &other(), Scope::Common);
    assert_eq!(found, [of(Kind::Asked { tables: 1 })]);
    assert_eq!(found[0].sqlstate(), None);
}

#[test]
fn tables_and_keyrings() {
    let with = |change: fn(&mut NodeState)| kinds(&node(), &other_with(change));
    assert_eq!(with(|there| there.tables.clear()), [Kind::NoTable { distributed: false }]);
    assert_eq!(
        with(|there| there.tables[0].exists = false),
        [Kind::NoTable { distributed: false }]
    );
    assert_eq!(with(|there| there.tables[0].seals = None), [Kind::Unused { opens: false }]);
    assert_eq!(
        with(|there| {
            there.tables[0].seals = None;
            there.tables[0].opens = vec![id(KEYRING)];
        }),
        [Kind::Unused { opens: true }]
    );
    assert_eq!(
        with(|there| {
            there.tables[0].seals = None;
            there.keyrings.clear();
        }),
        [Kind::NoKeyring]
    );
    assert_eq!(
        with(|there| there.tables[0].seals = Some(id(0xb0))),
        [Kind::OtherKeyring { here: id(KEYRING), there: id(0xb0) }]
    );
    let mut here = node();
    here.tables[0].seals = None;
    assert_eq!(kinds(&here, &other()), [Kind::KeyringOnlyThere]);
    here.tables[0].opens = vec![id(0xb0)];
    assert_eq!(kinds(&here, &other()), [Kind::KeyringOnlyThere, Kind::NotShared]);
}

#[test]
fn what_one_may_not_know_is_not_missing() {
    let hidden = |there: &mut NodeState| {
        there.role = "app".into();
        there.tables[0] = TableState { hidden: true, owner: None, ..table("public.cust", None) };
        there.keyrings.clear();
    };
    assert_eq!(kinds(&node(), &other_with(hidden)), [Kind::Hidden { role: "app".into() }]);
    let mut here = node();
    hidden(&mut here);
    assert_eq!(kinds(&here, &other()), []);
}

#[test]
fn only_distributed_tables_where_nodes_share_them() {
    let mut here = node();
    here.tables.push(TableState { distributed: true, ..table("public.shared", Some(KEYRING)) });
    let found = compare(&here, &other(), Scope::Distributed);
    let missing = Difference {
        relation: Some("public.shared".into()),
        ..of(Kind::NoTable { distributed: true })
    };
    assert_eq!(found, [of(Kind::Asked { tables: 1 }), missing]);
}

#[test]
fn keys_that_are_missing() {
    let (old, new) = (key(1, 1, State::DecryptOnly), key(2, 2, State::Active));
    let was = key(1, 1, State::Active);
    assert_eq!(
        of_keys(vec![old.clone(), new.clone()], vec![was.clone()]),
        [
            Kind::NoKey { version: 2 },
            Kind::OtherActive {
                here: active(2, 2, None),
                there: active(1, 1, Some(State::DecryptOnly))
            }
        ]
    );
    assert_eq!(
        of_keys(vec![was], vec![old, new]),
        [
            Kind::KeyOnlyThere { version: 2 },
            Kind::OtherActive {
                here: active(1, 1, Some(State::DecryptOnly)),
                there: active(2, 2, None)
            }
        ]
    );
}

#[test]
fn what_was_destroyed_everywhere_else_is_not_missing() {
    let keys = |old: Option<KeyState>| {
        old.into_iter().chain([key(2, 2, State::Active)]).collect::<Vec<_>>()
    };
    let destroyed = Some(key(1, 1, State::Destroyed));
    assert_eq!(of_keys(keys(destroyed.clone()), keys(None)), []);
    assert_eq!(of_keys(keys(None), keys(destroyed)), []);
}

#[test]
fn two_phases_of_a_rotation() {
    let old = key(1, 1, State::Active);
    let pending = key(2, 2, State::Pending);
    // The second key is on one node, then on both, then it takes over here first.
    assert_eq!(
        of_keys(vec![old.clone(), pending.clone()], vec![old.clone()]),
        [Kind::NoKey { version: 2 }]
    );
    let both = vec![old.clone(), pending.clone()];
    assert_eq!(of_keys(both.clone(), both.clone()), []);
    let over = vec![key(1, 1, State::DecryptOnly), key(2, 2, State::Active)];
    let expected = Kind::OtherActive {
        here: active(2, 2, Some(State::Pending)),
        there: active(1, 1, Some(State::DecryptOnly)),
    };
    assert_eq!(of_keys(over, both), [expected]);
}

#[test]
fn a_pending_key_that_waits_on_one_node_alone() {
    let keys = |state| vec![key(1, 1, State::Active), key(2, 2, state)];
    assert_eq!(
        of_keys(keys(State::Pending), keys(State::DecryptOnly)),
        [Kind::OtherState { here: State::Pending, there: State::DecryptOnly }]
    );
}

#[test]
fn forks() {
    let root = key(1, 1, State::DecryptOnly);
    let here = vec![root.clone(), key(2, 2, State::DecryptOnly), key(3, 3, State::Active)];
    let there = vec![root, key(9, 2, State::Active)];
    let fork = Kind::Fork { version: 2, here: id(2), there: id(9) };
    assert_eq!(of_keys(here.clone(), there.clone()), [fork]);
    let fork = Kind::Fork { version: 2, here: id(9), there: id(2) };
    assert_eq!(of_keys(there, here), [fork]);
}

#[test]
fn a_fork_that_was_resolved_on_one_node_is_none() {
    let root = key(1, 1, State::DecryptOnly);
    let here = vec![root.clone(), key(2, 2, State::Active), key(9, 3, State::DecryptOnly)];
    let there = vec![root.clone(), key(9, 2, State::Active)];
    assert_eq!(
        of_keys(here.clone(), there),
        [
            Kind::NoKey { version: 2 },
            Kind::OtherActive {
                here: active(2, 2, None),
                there: active(9, 2, Some(State::DecryptOnly))
            }
        ]
    );
    // And on the other: the numbers stay apart, and the least of them with it.
    let mut both = keys_of(here);
    let mut there = keys_of(vec![root, key(9, 2, State::DecryptOnly), key(2, 3, State::Active)]);
    there.system_identifier = "2".into();
    there.keyrings[0].brought = Some(Brought::Imported);
    assert_eq!(kinds(&both, &there), []);
    both.keyrings[0].minimum_version = 2;
    assert_eq!(kinds(&both, &there), []);
}

#[test]
fn index_keys_have_versions_of_their_own() {
    let index = |number, version, state| KeyState {
        purpose: Purpose::Index,
        ..key(number, version, state)
    };
    let seal = key(1, 1, State::Active);
    assert_eq!(
        of_keys(
            vec![seal.clone(), index(2, 1, State::Active)],
            vec![seal.clone(), index(3, 1, State::Active)]
        ),
        [Kind::Fork { version: 1, here: id(2), there: id(3) }]
    );
    assert_eq!(
        of_keys(vec![seal.clone(), index(2, 1, State::Active)], vec![seal]),
        [Kind::NoKey { version: 1 }, Kind::OtherActive { here: active(2, 1, None), there: None }]
    );
}

#[test]
fn states() {
    let keys = |state| vec![key(1, 1, state), key(2, 2, State::Active)];
    for (here, there) in [
        (State::Destroyed, State::DecryptOnly),
        (State::DecryptOnly, State::Destroyed),
        (State::Retired, State::DecryptOnly),
        (State::DecryptOnly, State::Retired),
        (State::Destroyed, State::Retired),
    ] {
        assert_eq!(of_keys(keys(here), keys(there)), [Kind::OtherState { here, there }]);
    }
    // One that seals here, and is out of use there, is both.
    assert_eq!(
        of_keys(
            keys(State::DecryptOnly),
            vec![key(1, 1, State::Active), key(2, 2, State::Retired)]
        ),
        [
            Kind::OtherActive {
                here: active(2, 2, Some(State::Retired)),
                there: active(1, 1, Some(State::DecryptOnly))
            },
            Kind::OtherState { here: State::Active, there: State::Retired }
        ]
    );
}

#[test]
fn limits_and_minimum_version() {
    let there = other_with(|there| {
        there.keyrings[0].limits = OwnLimits::parse("{\"cache_ttl\": 5}").ok();
        there.keyrings[0].minimum_version = 2;
    });
    assert_eq!(kinds(&node(), &there), [Kind::MinimumVersion { here: 1, there: 2 }, Kind::Limits]);
}

#[test]
fn policies_and_indexes() {
    let policy = |tag: &str| PolicyState {
        form: "sealed".into(),
        tag: tag.into(),
        bound: vec!["id".into()],
        value_type: None,
        source: None,
        block: None,
        mask: None,
    };
    let index = IndexState {
        column: "ssn".into(),
        rule: "exact/1".into(),
        label: "l".into(),
        term_length: Some(16),
    };
    let mut here = node();
    here.tables[0].policies = [("ssn".into(), policy("t")), ("x".into(), policy("u"))].into();
    here.tables[0].indexes = [("ssn_term".into(), index)].into();
    let there = other_with(|there| there.tables = here.tables.clone());
    assert_eq!(kinds(&here, &there), []);
    let there = other_with(|there| {
        there.tables[0].policies =
            [("ssn".into(), policy("other")), ("x".into(), policy("u"))].into();
    });
    let (policy, index) =
        (Kind::Policy { column: "ssn".into() }, Kind::Index { column: "ssn_term".into() });
    assert_eq!(kinds(&here, &there), [policy, index]);
}

#[test]
fn rights() {
    let grant = |role: &str, verbs: &[Verb]| GrantState { role: role.into(), verbs: verbs.into() };
    let there = other_with(|there| {
        there.keyrings[0].grants =
            vec![grant("z", &[Verb::Manage]), grant("app", &[Verb::Search, Verb::Decrypt])];
        there.tables[0].owner = Some("stranger".into());
    });
    let of = |role: &str, here: &[Verb], there: &[Verb]| Kind::Rights {
        role: role.into(),
        here: here.into(),
        there: there.into(),
    };
    assert_eq!(
        kinds(&node(), &there),
        [
            Kind::Owner { here: "owner".into(), there: "stranger".into() },
            of("app", &[Verb::Decrypt], &[Verb::Decrypt, Verb::Search]),
            of("z", &[], &[Verb::Manage]),
        ]
    );
    let same = other_with(|there| there.keyrings[0].grants = node().keyrings[0].grants.clone());
    assert_eq!(kinds(&node(), &same), []);
}

#[test]
fn keks_and_what_needs_them() {
    let there = other_with(|there| {
        there.keyrings[0].keys[0].keks.push("aws-kms://arn:x".into());
        there.kms = vec!["aws-kms".into()];
    });
    assert_eq!(
        kinds(&node(), &there),
        [Kind::Provider { scheme: "file".into() }, Kind::OtherKeks { keys: 1 }]
    );
    assert_eq!(scheme("vault+http://h/transit/keys/k"), "vault");
    assert_eq!(scheme("pkcs11:token=t"), "pkcs11");
}

#[test]
fn both_make_keys() {
    let there = other_with(|there| there.keyrings[0].brought = None);
    assert_eq!(kinds(&node(), &there), [Kind::BothMake]);
    assert_eq!(of(Kind::BothMake).sqlstate(), None);
}

#[test]
fn versions() {
    let there = other_with(|there| there.extension_version = Some("0.1.0".into()));
    let here = Some(env!("CARGO_PKG_VERSION").to_owned());
    let expected = Kind::Extension { here, there: Some("0.1.0".into()) };
    assert_eq!(kinds(&node(), &there), [expected]);
    let there = other_with(|there| there.library_version = "9".into());
    let here = env!("CARGO_PKG_VERSION").to_owned();
    assert_eq!(kinds(&node(), &there), [Kind::Library { here, there: "9".into() }]);
}

#[test]
fn settings() {
    let with = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        pairs.collect::<BTreeMap<String, String>>()
    };
    let both = |here: &[(&str, &str)], there: &[(&str, &str)]| {
        let (mut own, mut other) = (node(), other());
        (own.settings, other.settings) = (with(here), with(there));
        kinds(&own, &other)
    };
    let setting = Kind::Setting { name: "a".into(), here: "1".into(), there: "2".into() };
    assert_eq!(both(&[("a", "1"), ("b", "1")], &[("a", "2"), ("c", "1")]), [setting]);
    let auto = |value| (AUTO_CREATE_KEY, value);
    assert_eq!(both(&[auto("on")], &[auto("off")]), [], "as it should be");
    assert_eq!(both(&[auto("off")], &[auto("off")]), []);
    assert_eq!(both(&[auto("on")], &[auto("on")]), [Kind::AutoCreate { here: true }]);
    assert_eq!(both(&[auto("off")], &[auto("on")]), [Kind::AutoCreate { here: false }]);
    let kek = |value| (DEFAULT_KEK, value);
    assert_eq!(
        both(&[auto("on"), kek("x")], &[auto("off"), kek("y")]),
        [Kind::DefaultKek { makes: false }]
    );
    assert_eq!(
        both(&[auto("on"), kek("x")], &[auto("on"), kek("")]),
        [Kind::AutoCreate { here: true }, Kind::DefaultKek { makes: true }]
    );
}

#[test]
fn a_node_that_is_this_one() {
    let there = other_with(|there| there.system_identifier = "1".into());
    assert_eq!(kinds(&node(), &there), [Kind::SameDatabase]);
}

#[test]
fn there_is_an_end_to_it() {
    let (mut here, mut there) = (node(), other());
    let grant = |number| GrantState { role: format!("r{number}"), verbs: vec![Verb::Decrypt] };
    there.keyrings[0].grants = (0..3 * MOST).map(grant).collect();
    let found = compare(&here, &there, Scope::Common);
    assert!(found.len() == MOST + 1 && found[MOST].kind == Kind::More);
    here.tables =
        (0..3 * MOST).map(|number| table(&format!("public.t{number}"), Some(1))).collect();
    let found = compare(&here, &there, Scope::Common);
    assert!(found.len() == MOST + 1 && found[MOST].kind == Kind::More);
}

/// What stands in messages of what another node says.
#[test]
fn strange_words_stay_out_of_messages() {
    let evil = "x\"\n\u{1b}[31m' || secret".repeat(20);
    let grants = vec![GrantState { role: evil.clone(), verbs: vec![Verb::Decrypt] }];
    let there = other_with(|there| {
        there.keyrings[0].grants = grants;
        there.tables[0].owner = Some(evil.clone());
        there.settings.insert("envelope.cache_ttl".into(), evil.clone());
    });
    let between = Between { there: "b", sync: "s" };
    for difference in compare(&node(), &there, Scope::Common) {
        let told = difference.message(&between);
        assert!(!told.contains('\n') && !told.contains('\u{1b}') && told.len() < 600, "{told}");
        if matches!(difference.kind, Kind::Setting { .. }) {
            assert!(!told.contains("secret"), "{told}");
        }
    }
    let fault = crate::nodes::Fault { sqlstate: "'; --".into(), message: format!("ab\nc{evil}") };
    let silent = of(Kind::Silent(fault));
    assert_eq!(silent.sqlstate().as_deref(), Some("HV000"));
    assert!(silent.message(&between).ends_with(": ab"));
}
