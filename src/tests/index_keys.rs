//! Index keys as the code that makes terms uses them.

#[pgrx::pg_schema]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::RefCell;

    use envelope::header::KeyId;
    use envelope::search::{Hasher, TERM_PREFIX_LEN};
    use pgrx::pg_sys;
    use pgrx::pg_test;
    use pgrx::spi::Spi;

    use crate::catalog::rows::Verb;
    use crate::error::{Error, Result};
    use crate::keyring::{begin_statement, table};
    use crate::memory::{Hashes, cache};
    use crate::{kek, life};

    fn run(sql: &str) {
        Spi::run(sql).unwrap();
    }

    fn number(sql: &str) -> i64 {
        Spi::get_one::<i64>(sql).unwrap().unwrap()
    }

    fn make_table() -> pg_sys::Oid {
        run("SET client_min_messages = error");
        run("CREATE TABLE cards (pan bytea)");
        Spi::get_one::<pg_sys::Oid>("SELECT 'cards'::regclass::oid").unwrap().unwrap()
    }

    const ASKED: Hashes<'static> = Hashes { label: "pan", rule: "exact/1", n: 32 };

    fn hash(hasher: &Hasher) -> [u8; 32] {
        let mut term = Vec::new();
        hasher.term(b"x", &mut term);
        term[TERM_PREFIX_LEN..].try_into().unwrap()
    }

    /// What the key that makes terms makes of one value, as the current role gets it.
    fn key(relation: pg_sys::Oid, key_id: &KeyId, verb: Verb) -> Result<[u8; 32]> {
        begin_statement(None);
        let got = RefCell::new([0; 32]);
        let table = table::get(relation)?;
        kek::with_hasher(&table, key_id, verb, 1, ASKED, |hasher| {
            *got.borrow_mut() = hash(hasher);
            Ok(())
        })?;
        Ok(got.into_inner())
    }

    fn index_keys(relation: pg_sys::Oid) -> Vec<(KeyId, i32, bool)> {
        let table = table::get(relation).unwrap();
        table.index_keys().iter().map(|key| (key.key_id, key.version, key.is_active)).collect()
    }

    #[pg_test]
    fn the_first_comes_with_a_keyring_and_a_key_that_seals() {
        let cards = make_table();
        let first = life::index_key::ensure(cards).unwrap();
        assert_eq!(life::index_key::ensure(cards).unwrap(), first);
        let keys = "SELECT count(*) FROM envelope.keys WHERE relation = 'public.cards' AND state = 'active'";
        assert_eq!(number(keys), 2);
        assert_eq!(number(&format!("{keys} AND purpose = 'index' AND version = 1")), 1);
        assert_eq!(index_keys(cards), [(first, 1, true)]);
        assert!(table::get(cards).unwrap().active_key() != Some(first));
    }

    #[pg_test]
    fn it_goes_beside_the_keys_that_are_there() {
        let cards = make_table();
        run("SELECT envelope.create_key('cards')");
        run("SELECT envelope.rotate_key('cards')");
        begin_statement(None);
        life::index_key::ensure(cards).unwrap();
        assert_eq!(number("SELECT count(*) FROM envelope.keys WHERE relation = 'public.cards'"), 3);
        assert_eq!(number("SELECT count(DISTINCT keyring_id) FROM envelope.data_key"), 1);
    }

    #[pg_test]
    fn no_key_is_made_where_none_may_be() {
        let cards = make_table();
        run("SET envelope.auto_create_key = off");
        begin_statement(None);
        assert!(matches!(life::index_key::ensure(cards), Err(Error::NoKey { .. })));
        run("RESET envelope.auto_create_key");
        run("CREATE ROLE stranger");
        run("SET ROLE stranger");
        begin_statement(None);
        assert!(matches!(life::index_key::ensure(cards), Err(Error::NoRight { .. })));
        run("RESET ROLE");
        assert_eq!(number("SELECT count(*) FROM envelope.data_key"), 0);
    }

    /// The key is the same whenever it is asked for; a rotation gives another one beside it, until it is out of use.
    #[pg_test]
    fn each_version_has_a_key_of_its_own() {
        let cards = make_table();
        let first = life::index_key::ensure(cards).unwrap();
        let one = key(cards, &first, Verb::Search).unwrap();
        assert_ne!(one, [0; 32]);
        run("SELECT envelope.flush_cache()");
        assert_eq!(key(cards, &first, Verb::Search).unwrap(), one);
        let second = life::index_key::rotate(cards, None, true).unwrap();
        assert_eq!(index_keys(cards), [(second, 2, true), (first, 1, false)]);
        assert_ne!(key(cards, &second, Verb::Encrypt).unwrap(), one);
        assert_eq!(key(cards, &first, Verb::Encrypt).unwrap(), one);
        run(
            "SELECT envelope.retire_key(key_id) FROM envelope.keys WHERE purpose = 'index' AND version = 1",
        );
        assert!(matches!(key(cards, &first, Verb::Search), Err(Error::NoIndexKey { .. })));
        assert_eq!(index_keys(cards), [(second, 2, true)]);
    }

    #[pg_test]
    fn a_key_that_seals_makes_no_terms() {
        let cards = make_table();
        life::index_key::ensure(cards).unwrap();
        let seals = table::get(cards).unwrap().active_key().unwrap();
        assert!(matches!(key(cards, &seals, Verb::Search), Err(Error::NoIndexKey { .. })));
    }

    #[pg_test]
    fn boundary_sets_have_another_key_than_terms() {
        let cards = make_table();
        let index_key = life::index_key::ensure(cards).unwrap();
        let terms = key(cards, &index_key, Verb::Manage).unwrap();
        let table = table::get(cards).unwrap();
        let differs = kek::with_boundaries_key(&table, &index_key, Verb::Manage, 1, |key| {
            let Hashes { label, rule, n } = ASKED;
            let hasher = Hasher::new(key, index_key, label, rule, n).unwrap();
            Ok(hash(&hasher) != terms && *key != [0; 32])
        });
        assert!(differs.unwrap());
    }

    #[pg_test]
    fn each_verb_is_a_right_of_its_own() {
        let cards = make_table();
        let index_key = life::index_key::ensure(cards).unwrap();
        run("CREATE ROLE clerk");
        for (granted, allowed) in [
            ("decrypt", &[][..]),
            ("search", &[Verb::Search]),
            ("encrypt", &[Verb::Encrypt]),
            ("manage", &[Verb::Search, Verb::Manage]),
        ] {
            run(&format!("SELECT envelope.grant_key('cards', 'clerk', '{granted}')"));
            run("SET ROLE clerk");
            for verb in [Verb::Search, Verb::Encrypt, Verb::Manage] {
                let outcome = key(cards, &index_key, verb);
                assert_eq!(outcome.is_ok(), allowed.contains(&verb), "{granted} {}", verb.name());
                assert!(outcome.is_ok() || matches!(outcome, Err(Error::NoRight { .. })));
            }
            run("RESET ROLE");
            run(&format!("SELECT envelope.revoke_key('cards', 'clerk', '{granted}')"));
        }
    }

    /// Whoever holds a KEK that is not allowed could make the terms of what is written; a search gives nothing away.
    #[pg_test]
    fn terms_are_written_under_allowed_keks_alone() {
        let cards = make_table();
        let index_key = life::index_key::ensure(cards).unwrap();
        run("SET envelope.allowed_keks = 'file:///elsewhere/*'");
        assert!(key(cards, &index_key, Verb::Search).is_ok());
        for verb in [Verb::Encrypt, Verb::Manage] {
            let outcome = key(cards, &index_key, verb);
            assert!(matches!(outcome, Err(Error::SealingKekNotAllowed { .. })));
        }
    }

    /// A use of it counts as one of a key that seals does.
    #[pg_test]
    fn its_uses_count() {
        let cards = make_table();
        let index_key = life::index_key::ensure(cards).unwrap();
        run("SET envelope.cache_max_uses = 1");
        for _ in 0..2 {
            assert!(key(cards, &index_key, Verb::Search).is_ok());
            assert!(!cache::is_usable(index_key).unwrap());
        }
        run("RESET envelope.cache_max_uses");
        assert!(key(cards, &index_key, Verb::Search).is_ok());
        assert!(cache::is_usable(index_key).unwrap());
    }
}
