//! What is best asked inside a backend, for `cargo pgrx test`.

mod index_keys;

#[pgrx::pg_schema]
#[allow(clippy::unwrap_used)]
mod tests {
    use pgrx::pg_test;
    use pgrx::spi::Spi;

    fn text(sql: &str) -> Option<String> {
        Spi::get_one::<String>(sql).unwrap()
    }

    fn make_table() {
        Spi::run("CREATE TABLE cards (pan bytea)").unwrap();
        Spi::run("SET client_min_messages = error").unwrap();
    }

    fn seal_one() {
        Spi::run("INSERT INTO cards VALUES (envelope_encrypt('cards', '4929'))").unwrap();
    }

    fn threads() -> usize {
        std::fs::read_dir("/proc/self/task").unwrap().count()
    }

    #[pg_test]
    fn what_is_sealed_opens() {
        make_table();
        seal_one();
        let opened = text("SELECT envelope_decrypt_text('cards', pan) FROM cards");
        assert_eq!(opened.as_deref(), Some("4929"));
    }

    /// A key file needs neither a thread nor the AWS client.
    #[pg_test]
    fn a_key_file_starts_no_thread() {
        make_table();
        seal_one();
        assert_eq!(threads(), 1);
    }

    /// One that is in is not told as left out, whatever else it lacks, and the other way round.
    #[pg_test]
    fn each_provider_is_in_or_told_to_be_left_out() {
        assert_eq!(crate::kms::built_in::mistold(), [""; 0]);
    }

    /// Unwrapped keys stand in pages that are locked, left out of core dumps and zeroed on fork.
    #[pg_test]
    fn keys_stand_in_pages_of_their_own() {
        make_table();
        let flags = |smaps: &str| {
            let wanted = |flags: &&str| {
                let has = |flag| flags.split_whitespace().any(|f| f == flag);
                // Droppable is what random bytes are made with, by the C library or by us.
                has("dd") && has("wf") && !has("dp")
            };
            smaps.lines().filter_map(|line| line.strip_prefix("VmFlags:")).filter(wanted).count()
        };
        let before = flags(&std::fs::read_to_string("/proc/self/smaps").unwrap());
        seal_one();
        let after = std::fs::read_to_string("/proc/self/smaps").unwrap();
        assert_eq!((before, flags(&after)), (0, 1));
        let locked = Spi::get_one::<bool>("SELECT memory_locked FROM envelope.stats").unwrap();
        let locked_pages = after.lines().filter_map(|line| line.strip_prefix("Locked:"));
        let any_locked = locked_pages.map(str::trim).any(|size| size != "0 kB");
        assert_eq!(locked, Some(any_locked));
    }

    /// The wrapped key in the catalog is no key.
    #[pg_test]
    fn the_catalog_holds_wraps_only() {
        make_table();
        seal_one();
        let (length, marker) = Spi::get_two::<i32, String>(
            "SELECT length(wrapped), encode(substr(wrapped, 1, 2), 'hex') FROM envelope.wrapped_key",
        )
        .unwrap();
        assert_eq!((length, marker.as_deref()), (Some(90), Some("f757")));
    }
}
