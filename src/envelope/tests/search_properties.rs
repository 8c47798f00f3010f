//! What must hold of search whatever the value: of every code point, and of values that chance draws.

use std::collections::BTreeSet;

use envelope::search::{Boundaries, Drawn};
use envelope::search::{
    End, Extent, FormType, Kind, MOST_STEPS, NormalForm, Op, Ordered, Outside, Refused, Room, Rule,
    Sample, Scratch, Subject, Value, normal_form, ordinal, payloads, query, range, value,
};
use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

fn form(form: NormalForm, text: &str) -> Result<String, Refused> {
    normal_form(form, Extent::Whole, text, &mut Scratch::new(), |normal| {
        String::from_utf8(normal.to_vec()).unwrap()
    })
}

fn rule(text: &str) -> Rule {
    Rule::parse(text).unwrap()
}

fn stored(rule: &Rule, value: Value<'_>, drawn: Option<Drawn<'_>>) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    payloads(rule, value, drawn, &mut Scratch::new(), &mut |payload| {
        all.insert(payload.to_vec());
    })
    .unwrap();
    all
}

fn asked(rule: &Rule, op: Op, text: &str) -> Result<BTreeSet<Vec<u8>>, Refused> {
    let mut all = BTreeSet::new();
    query(rule, op, Value::Text(text), None, &mut Scratch::new(), &mut |payload| {
        all.insert(payload.to_vec());
    })
    .map(|()| all)
}

/// Every code point, alone and before marks that it may take up.
#[test]
fn case_folding_is_its_own() {
    let mut scratch = Scratch::new();
    let mut casefold = |text: &str| {
        normal_form(NormalForm::Casefold, Extent::Whole, text, &mut scratch, |normal| {
            String::from_utf8(normal.to_vec()).unwrap()
        })
        .unwrap()
    };
    for c in '\0'..=char::MAX {
        for text in [c.to_string(), format!("A{c}\u{345}\u{323}")] {
            let once = casefold(&text);
            assert_eq!(casefold(&once), once, "{text:?}");
        }
    }
}

/// What text is made of that normal forms change.
const LETTERS: &[char] = &[
    'a',
    'A',
    'B',
    'z',
    '9',
    ' ',
    '.',
    '@',
    '-',
    '\t',
    '\u{1}',
    'é',
    'É',
    'ß',
    'ẞ',
    'ſ',
    'ﬁ',
    'Ａ',
    '３',
    'Σ',
    'ς',
    'ᾳ',
    'İ',
    'ı',
    'K',
    'Å',
    '½',
    'Ⅷ',
    '한',
    'ᄒ',
    'ᅡ',
    'ᆫ',
    '٤',
    '५',
    '語',
    '😀',
    '\u{300}',
    '\u{301}',
    '\u{308}',
    '\u{323}',
    '\u{327}',
    '\u{345}',
    '\u{1d165}',
    '\u{200b}',
    '\u{ad}',
    '\u{34f}',
    '\u{3000}',
    '\u{a0}',
    '\u{85}',
    '\u{1fae9}',
    '\u{a7cb}',
    '\u{10efa}',
    '\u{e0fff}',
    '\u{378}',
    '\u{fdd0}',
    '\u{e000}',
    '\u{10ffff}',
    'ǆ',
    'Ǆ',
    'ﷺ',
    '¨',
];

/// Whether no code point of `text` is one that the crate knows and 15.1.0 does not.
fn is_known(text: &str) -> bool {
    let is_new = |c| matches!(c, '\u{378}' | '\u{1fae9}' | '\u{a7cb}' | '\u{10efa}');
    text.chars().all(|c| LETTERS.contains(&c) && !is_new(c))
}

fn text() -> impl Strategy<Value = String> {
    let letter = prop_oneof![4 => proptest::sample::select(LETTERS), 1 => any::<char>()];
    proptest::collection::vec(letter, 0..24).prop_map(String::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_000))]

    #[test]
    fn what_is_normalised_stays(text in text()) {
        // The others drop what stood between two marks, or one dot of two.
        for which in [NormalForm::Nfc, NormalForm::Casefold, NormalForm::Digits] {
            if let Ok(once) = form(which, &text) {
                prop_assert_eq!(form(which, &once), Ok(once), "{:?}", which);
            }
        }
    }

    /// Of text that 15.1.0 knows, the crate's own normal form is the same.
    #[test]
    fn equal_texts_have_one_normal_form(text in text()) {
        let others: [String; 2] = [text.nfd().collect(), text.nfc().collect()];
        for other in others.iter().filter(|_| is_known(&text)) {
            for which in [NormalForm::Nfc, NormalForm::Casefold, NormalForm::Alnum, NormalForm::Email] {
                prop_assert_eq!(form(which, other), form(which, &text), "{:?}", which);
            }
        }
        let by_crate: String = text.nfc().collect();
        if is_known(&text) {
            prop_assert_eq!(form(NormalForm::Nfc, &text), Ok(by_crate));
        }
        let upper: String = text.chars().map(|c| c.to_ascii_uppercase()).collect();
        prop_assert_eq!(form(NormalForm::Casefold, &upper), form(NormalForm::Casefold, &text));
    }

    /// Whatever a question is true of, its index finds.
    #[test]
    fn what_is_in_a_value_is_asked_for(text in text(), from in 0..24usize, len in 0..24usize, k in 1..5u32) {
        let normal = form(NormalForm::Casefold, &text).unwrap();
        let starts: Vec<_> = normal.char_indices().map(|(at, _)| at).chain([normal.len()]).collect();
        let (from, to) = (starts[from % starts.len()], starts[(from + len) % starts.len()]);
        let piece = normal.get(from..to).unwrap_or_default();
        let parts = Rule::new(Kind::Parts(k + 1), Subject::Form(NormalForm::Casefold)).unwrap();
        let prefix = Rule::new(Kind::Prefix(k), Subject::Form(NormalForm::Casefold)).unwrap();
        let suffix = Rule::new(Kind::Suffix(k), Subject::Form(NormalForm::Casefold)).unwrap();
        // A piece that is cut from a normal form may have another of its own: then that is what is looked for.
        let piece = form(NormalForm::Casefold, piece).unwrap();
        for (op, is_so) in [
            (Op::Contains, normal.contains(&piece)),
            (Op::Prefix, normal.starts_with(&piece)),
            (Op::Suffix, normal.ends_with(&piece)),
            (Op::Equal, normal == piece),
        ] {
            for rule in [&parts, &prefix, &suffix] {
                match asked(rule, op, &piece) {
                    Ok(asked) if is_so => {
                        prop_assert!(!asked.is_empty());
                        prop_assert!(asked.is_subset(&stored(rule, Value::Text(&text), None)), "{} {:?}", rule, op);
                    }
                    Ok(asked) => prop_assert!(!asked.is_empty()),
                    Err(Refused::TooShort { least }) => {
                        prop_assert!(piece.chars().filter(|c| !c.is_whitespace() && !c.is_control()).count() < least as usize + 1);
                    }
                    Err(Refused::NoAnswer) => prop_assert!(rule != &parts && op != Op::Equal),
                    Err(other) => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }

    #[test]
    fn equal_values_have_equal_payloads(text in text()) {
        let other: String = text.nfd().collect();
        if !is_known(&text) {
            return Ok(());
        }
        for text_rule in ["casefold/1", "words casefold/1", "parts(3) casefold/1", "prefix(2) casefold/1"] {
            let rule = rule(text_rule);
            prop_assert_eq!(stored(&rule, Value::Text(&text), None), stored(&rule, Value::Text(&other), None));
        }
    }
}

/// No token: the set of the marker alone, and nothing to ask for.
#[test]
fn a_value_without_words_has_no_token() {
    let words = rule("words casefold/1");
    for text in ["", "  ", "\u{200b}", "😀 —"] {
        assert!(stored(&words, Value::Text(text), None).is_empty());
        assert_eq!(asked(&words, Op::Words, text), Ok(BTreeSet::new()));
        assert_eq!(asked(&words, Op::Equal, text), Err(Refused::TooShort { least: 1 }));
    }
}

#[test]
fn a_query_shorter_than_its_pieces_is_refused() {
    let parts = rule("parts(3) casefold/1");
    for (op, short, enough) in [
        (Op::Contains, "ab", "abc"),
        (Op::Contains, " ab ", "a b"),
        (Op::Contains, "a\u{1}b", "a\u{1}bc"),
        (Op::Prefix, "a", "ab"),
        (Op::Suffix, "a", "ab"),
        (Op::Equal, "", "a"),
        (Op::Equal, "  ", " a "),
    ] {
        assert!(
            matches!(asked(&parts, op, short), Err(Refused::TooShort { .. })),
            "{op:?} {short:?}"
        );
        assert!(
            asked(&parts, op, enough).is_ok_and(|asked| !asked.is_empty()),
            "{op:?} {enough:?}"
        );
    }
    // With two anchors nothing at all would be long enough.
    let pairs = rule("parts(2) casefold/1");
    for (op, least) in [(Op::Equal, 1), (Op::Prefix, 1), (Op::Suffix, 1), (Op::Contains, 2)] {
        assert_eq!(asked(&pairs, op, " \u{3}"), Err(Refused::TooShort { least }));
    }
    let prefix = rule("prefix(4) digits/1");
    assert_eq!(asked(&prefix, Op::Equal, "1-2-3"), Err(Refused::TooShort { least: 4 }));
    assert_eq!(asked(&prefix, Op::Prefix, "abc"), Err(Refused::Empty));
    assert!(stored(&prefix, Value::Text("123"), None).is_empty());
}

/// A piece of an address has no @, and is looked for all the same.
#[test]
fn pieces_of_addresses_are_asked_for() {
    let parts = rule("parts(3) email/1");
    let value = stored(&parts, Value::Text(" Anna.B@Example.COM. "), None);
    for (op, piece) in [(Op::Contains, "EXAMPLE"), (Op::Prefix, "anna."), (Op::Suffix, ".com")] {
        assert!(asked(&parts, op, piece).unwrap().is_subset(&value), "{piece}");
    }
    assert_eq!(asked(&parts, Op::Equal, "anna"), Err(Refused::NotEmail));
}

#[test]
fn a_kind_answers_its_own_questions() {
    let ops = [Op::Equal, Op::Prefix, Op::Suffix, Op::Contains, Op::Words];
    for (text, answers) in [
        ("casefold/1", &[Op::Equal][..]),
        ("prefix(1) casefold/1", &[Op::Equal, Op::Prefix]),
        ("suffix(1) casefold/1", &[Op::Equal, Op::Suffix]),
        ("words casefold/1", &[Op::Equal, Op::Words]),
        ("parts(2) casefold/1", &[Op::Equal, Op::Prefix, Op::Suffix, Op::Contains]),
    ] {
        for op in ops {
            let refused = asked(&rule(text), op, "abcd") == Err(Refused::NoAnswer);
            assert_eq!(refused, !answers.contains(&op), "{text} {op:?}");
        }
    }
    assert_eq!(asked(&rule("days date/1"), Op::Equal, "2026-11-30"), Err(Refused::NoForm));
}

/// Types go with their rules only; booleans and types without an order with none.
#[test]
fn types_and_rules() {
    let of = |kind, form: &str, text: &str| match value::of_form(
        kind,
        form.as_bytes(),
        &rule(text),
        &mut Room::new(),
    ) {
        Ok(_) => Ok(()),
        Err(refused) => Err(refused),
    };
    assert_eq!(of(FormType::Int, "12", "exact/1"), Ok(()));
    assert_eq!(of(FormType::Int, "12", "casefold/1"), Err(Refused::NoForm));
    assert_eq!(of(FormType::Int, "12", "prefix(1) digits/1"), Err(Refused::NoForm));
    assert_eq!(of(FormType::Bool, "true", "exact/1"), Err(Refused::NoForm));
    assert_eq!(of(FormType::Unordered, "[]", "exact/1"), Err(Refused::NoForm));
    assert_eq!(of(FormType::Date, "2026-11-30", "days timestamp/1"), Err(Refused::NoForm));
    assert_eq!(of(FormType::Date, "2026-11-31", "days date/1"), Err(Refused::NoForm));
    assert_eq!(of(FormType::Numeric, "1.50", "buckets numeric(2)/1"), Ok(()));
    assert_eq!(of(FormType::Numeric, "1.505", "buckets numeric(2)/1"), Err(Refused::NoForm));
    assert_eq!(of(FormType::Text, "x", "days date/1"), Err(Refused::NoForm));
}

/// Every range of a small domain, with values beyond all numbers, under every ordered kind: a value is asked for where
/// it is in the range.
#[test]
fn ranges_find_what_is_in_them() {
    let json = br#"{"set":3,"bounds":["-5","0","1","7"],"classes":[[0],[9],[2,3,4],[1],[5]]}"#;
    let ints = Boundaries::parse(json, Ordered::Int).unwrap();
    let floats = Boundaries::parse(json, Ordered::Float).unwrap();
    let low = ordinal::of_number(-4);
    let whole = |number: i64| ordinal::of_number(number);
    let float = |number: i64| ordinal::of_float(number as f64);
    type Case<'a> = (String, Option<&'a Boundaries>, &'a dyn Fn(i64) -> u64);
    let cases: [Case<'_>; 5] = [
        ("steps(3) int/1".into(), None, &whole),
        ("buckets int/1".into(), Some(&ints), &whole),
        ("buckets float/1".into(), Some(&floats), &float),
        (format!("tree(2,1,3,{low}) int/1"), None, &whole),
        (format!("tree(1,0,3,{}) float/1", float(2)), None, &float),
    ];
    for (text, boundaries, ordinal) in cases {
        let rule = rule(&text);
        let outsides: &[Outside] = if text.contains("float") {
            &[Outside::Before, Outside::After, Outside::NaN]
        } else {
            &[]
        };
        // In the order of PostgreSQL.
        let mut all: Vec<(Value<'_>, End)> = (-9..=9)
            .map(|number| (Value::Ordinal(ordinal(number)), End::At(ordinal(number))))
            .collect();
        for outside in outsides {
            let one = (Value::Outside(*outside), End::Outside(*outside));
            let at = if *outside == Outside::Before { 0 } else { all.len() };
            all.insert(at, one);
        }
        let has_open = !text.starts_with("steps");
        for from in (0..=all.len()).filter(|from| *from < all.len() || has_open) {
            for to in (0..=all.len()).filter(|to| *to < all.len() || has_open) {
                let end = |at: usize| all.get(at).map_or(End::Open, |(_, end)| *end);
                let mut asked = BTreeSet::new();
                range(&rule, end(from), end(to), boundaries, &mut |payload| {
                    asked.insert(payload.to_vec());
                })
                .unwrap();
                let first = if from == all.len() { 0 } else { from };
                for (at, (value, _)) in all.iter().enumerate() {
                    for bits in 0..3 {
                        let drawn = boundaries.map(|boundaries| Drawn { boundaries, bits });
                        let stored = stored(&rule, *value, drawn);
                        let is_in = (first..=to).contains(&at);
                        let is_found = !stored.is_disjoint(&asked);
                        assert!(is_found || !is_in, "{text}: {at} in {from} to {to}");
                        // A tree is exact within its domain.
                        if text.starts_with("tree") && stored.len() > 1 {
                            assert_eq!(is_found, is_in, "{text}: {at} in {from} to {to}");
                        }
                    }
                }
                if from < all.len() && to < from {
                    assert!(asked.is_empty(), "{text}: {from} to {to}");
                }
            }
        }
    }
}

#[test]
fn a_range_of_too_many_steps_is_refused() {
    let count = |text: &str, low, high| {
        let mut count = 0;
        range(&rule(text), low, high, None, &mut |_| count += 1).map(|()| count)
    };
    let at = |number| End::At(ordinal::of_number(number));
    let most = MOST_STEPS as i64;
    assert_eq!(count("days date/1", at(1), at(most)), Ok(MOST_STEPS));
    let too_wide = Err(Refused::TooWide { most: MOST_STEPS });
    assert_eq!(count("days date/1", at(0), at(most)), too_wide);
    assert_eq!(count("days date/1", at(0), End::Open), too_wide);
    assert_eq!(count("steps(3600) time/1", End::Open, End::Open), Ok(25));
    assert_eq!(count("buckets date/1", at(0), at(1)), Err(Refused::NoBoundaries));
    assert_eq!(count("casefold/1", at(0), at(1)), Err(Refused::NoAnswer));
    let ends = (End::Outside(Outside::After), End::Outside(Outside::After));
    assert_eq!(count("days date/1", ends.0, ends.1), Ok(1));
}

/// A set over `numbers`.
fn set(numbers: &[i64], classes: u32) -> (Boundaries, Sample) {
    let mut sample = Sample::new(Ordered::Int);
    for number in numbers {
        sample.push(FormType::Int, number.to_string().as_bytes()).unwrap();
    }
    (sample.boundaries(1, classes), sample)
}

fn classes_of(set: &Boundaries, number: i64) -> BTreeSet<u32> {
    let ordinal = ordinal::of_number(number);
    let mut all = BTreeSet::new();
    set.between(ordinal, ordinal, |class| {
        assert!(all.insert(class));
    });
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn boundary_sets(mut numbers in proptest::collection::vec(-40..40i64, 0..400), classes in 1..40u32) {
        let (set, _) = set(&numbers, classes);
        // A text that comes back.
        let mut json = Vec::new();
        set.write(&mut json);
        let again = Boundaries::parse(&json, Ordered::Int).unwrap();
        let mut twice = Vec::new();
        again.write(&mut twice);
        prop_assert_eq!(&json, &twice);
        // Each value has its classes, no other interval has them, and intervals follow each other.
        let mut last = (0, BTreeSet::new());
        for number in -41..=41 {
            let interval = again.interval_of(ordinal::of_number(number));
            let found = classes_of(&again, number);
            prop_assert!(interval >= last.0);
            prop_assert_eq!(interval == last.0, number == -41 || found == last.1);
            prop_assert!(interval == last.0 || found.is_disjoint(&last.1));
            let drawn: BTreeSet<_> =
                (0..1000).map(|bits| again.draw(ordinal::of_number(number), bits)).collect();
            prop_assert_eq!(&drawn, &found);
            last = (interval, found);
        }
        // What a range asks for is what its values have.
        for (low, high) in [(-41, 41), (-3, 17), (5, 5), (1, 0)] {
            let mut asked = BTreeSet::new();
            again.between(ordinal::of_number(low), ordinal::of_number(high), |class| {
                assert!(asked.insert(class));
            });
            let expected = (low..=high).flat_map(|number| classes_of(&again, number)).collect();
            prop_assert_eq!(asked, expected);
        }
        // About equally many values: no class has more than three times its share, and one.
        numbers.sort_unstable();
        for (at, of) in again.intervals().enumerate() {
            let inside = |number: &&i64| again.interval_of(ordinal::of_number(**number)) == at;
            let count = numbers.iter().filter(inside).count();
            let share = numbers.len() / classes as usize;
            prop_assert!(count <= of.len() * (3 * share + 3), "{} in {} classes of {}", count, of.len(), share);
        }
        prop_assert!(again.count() <= 2 * classes as usize + 1);
    }

    #[test]
    fn a_split_leaves_the_others(numbers in proptest::collection::vec(-40..40i64, 1..400), at in 0..40usize, classes in 1..20u32) {
        let (mut set, mut sample) = set(&numbers, 10);
        let at = at % set.intervals().count();
        let before: Vec<_> = (-41..=41).map(|number| classes_of(&set, number)).collect();
        let intervals: Vec<_> =
            (-41..=41).map(|number| set.interval_of(ordinal::of_number(number))).collect();
        let used: BTreeSet<_> = set.intervals().flatten().copied().collect();
        let is_split = set.split(at, &mut sample, classes);
        let mut json = Vec::new();
        set.write(&mut json);
        let mut set = Boundaries::parse(&json, Ordered::Int).unwrap();
        prop_assert_eq!(set.is_settling(), is_split);
        for (number, (before, interval)) in (-41..=41).zip(before.iter().zip(&intervals)) {
            let now = classes_of(&set, number);
            // Those written before are found.
            prop_assert!(before.is_subset(&now));
            if !is_split || *interval != at {
                prop_assert_eq!(&now, before);
            } else {
                let drawn = set.draw(ordinal::of_number(number), 5);
                prop_assert!(!used.contains(&drawn));
            }
        }
        set.settle();
        for (number, (before, interval)) in (-41..=41).zip(before.iter().zip(&intervals)) {
            let now = classes_of(&set, number);
            let is_other = is_split && *interval == at;
            prop_assert_eq!(now.is_disjoint(before), is_other);
        }
        // The numbers of a second split are new once more.
        let used: BTreeSet<_> = set.intervals().flatten().copied().chain(used).collect();
        if set.split(at, &mut sample, classes) {
            let new: BTreeSet<_> = set.intervals().flatten().copied().collect();
            prop_assert!(new.difference(&used).count() > 1);
        }
    }
}

#[test]
fn a_frequent_value_has_several_classes() {
    let mut numbers: Vec<i64> = (0..50).collect();
    numbers.extend([20; 50]);
    let (set, _) = set(&numbers, 10);
    assert_eq!(classes_of(&set, 20).len(), 5);
    assert!([19, 21].iter().all(|number| classes_of(&set, *number).len() == 1));
    let (all_one, _) = self::set(&[7; 100], 10);
    let mut json = Vec::new();
    all_one.write(&mut json);
    assert_eq!(json, br#"{"set":1,"bounds":[],"classes":[[0,1,2,3,4,5,6,7,8,9]]}"#);
    let (none, _) = self::set(&[], 10);
    assert_eq!(none.count(), 1);
}

#[test]
fn a_sample_is_counted_by_intervals() {
    let (ten, sample) = set(&(0..100).collect::<Vec<_>>(), 10);
    assert_eq!((sample.len(), sample.is_empty()), (100, false));
    assert_eq!(sample.counts(&ten), [10; 10]);
    let (_, none) = set(&[], 10);
    assert_eq!((none.len(), none.is_empty()), (0, true));
    assert_eq!(none.counts(&ten), [0; 10]);
}

#[test]
fn a_split_gives_its_interval_new_classes() {
    let (mut ten, mut sample) = set(&(0..100).collect::<Vec<_>>(), 10);
    assert_eq!(ten.count(), 10);
    // There is no such interval; one class would be all.
    assert!(!ten.split(10, &mut sample, 2));
    assert!(!ten.split(3, &mut sample, 1));
    assert!(!ten.is_settling());
    for (at, classes) in [(3, [10, 11]), (0, [12, 13]), (11, [14, 15])] {
        assert!(ten.split(at, &mut sample, 2));
        let found: Vec<_> = ten.intervals().skip(at).take(2).flatten().copied().collect();
        assert_eq!(found, classes);
    }
    assert_eq!((ten.count(), ten.intervals().count()), (13, 13));
    assert_eq!(sample.counts(&ten), [5, 5, 10, 10, 5, 5, 10, 10, 10, 10, 10, 5, 5]);
    let found = [29, 30, 34, 35, 39, 40].map(|number| classes_of(&ten, number));
    let expected: [&[u32]; 6] = [&[2], &[3, 10], &[3, 10], &[3, 11], &[3, 11], &[4]];
    assert_eq!(found, expected.map(|classes| classes.iter().copied().collect()));
}

/// Equality of what is ordered is a range of one; whatever else is asked of it has no answer, and of bytes neither.
#[test]
fn equality_of_what_is_no_text() {
    let ask = |text: &str, op, value: Value<'_>| {
        let mut all = Vec::new();
        query(&rule(text), op, value, None, &mut Scratch::new(), &mut |payload| {
            all.push(payload.to_vec());
        })
        .map(|()| all)
    };
    let between = |text: &str, end| {
        let mut all = Vec::new();
        range(&rule(text), end, end, None, &mut |payload| all.push(payload.to_vec())).map(|()| all)
    };
    let ordinal = ordinal::of_number(20_000);
    let day = ask("days date/1", Op::Equal, Value::Ordinal(ordinal));
    assert_eq!(day, between("days date/1", End::At(ordinal)));
    assert_eq!(day.map(|all| all.len()), Ok(1));
    let after = ask("days date/1", Op::Equal, Value::Outside(Outside::After));
    assert_eq!(after, between("days date/1", End::Outside(Outside::After)));
    assert_eq!(after.map(|all| all.len()), Ok(1));
    assert_eq!(ask("exact/1", Op::Equal, Value::Bytes(b"ab")), Ok(vec![b"ab".to_vec()]));
    for value in [Value::Ordinal(ordinal), Value::Outside(Outside::After)] {
        assert_eq!(ask("days date/1", Op::Prefix, value), Err(Refused::NoAnswer));
    }
    assert_eq!(ask("exact/1", Op::Prefix, Value::Bytes(b"ab")), Err(Refused::NoAnswer));
    assert_eq!(ask("days date/1", Op::Equal, Value::Text("ab")), Err(Refused::NoForm));
}

#[test]
fn no_other_text_of_a_boundary_set() {
    let right = r#"{"set":1,"bounds":["1","5"],"classes":[[0],[1,2],[3]]}"#;
    let split = r#"{"set":1,"bounds":["1"],"classes":[[1],[2]],"former":[[0],[0]]}"#;
    for right in [right, split] {
        assert!(Boundaries::parse(right.as_bytes(), Ordered::Int).is_some());
    }
    for (from, to) in [
        (r#""set":1"#, r#""set":01"#),
        (r#""set":1"#, r#""set":-1"#),
        (r#""set":1"#, r#""set":4294967296"#),
        (r#""set":1"#, r#""set": 1"#),
        (r#"["1","5"]"#, r#"["5","1"]"#),
        (r#"["1","5"]"#, r#"["1","1"]"#),
        (r#"["1","5"]"#, r#"["1","05"]"#),
        (r#"["1","5"]"#, r#"["1",5]"#),
        (r#"["1","5"]"#, r#"["1"]"#),
        (r#"["1","5"]"#, r#"["1","5",]"#),
        ("[1,2]", "[]"),
        ("[1,2]", "[1,1]"),
        ("[1,2]", "[1,3]"),
        ("]}", "]} "),
        ("]}", r#"],"former":[[],[],[]]}"#),
        ("]}", r#"],"former":[[9]]}"#),
    ] {
        let wrong = right.replace(from, to);
        assert!(wrong != right);
        assert!(Boundaries::parse(wrong.as_bytes(), Ordered::Int).is_none(), "{wrong}");
    }
    assert!(Boundaries::parse(right.as_bytes(), Ordered::Date).is_none());
}

/// A bound of single precision is read as the same number of double precision.
#[test]
fn bounds_of_floats_come_back() {
    let mut sample = Sample::new(Ordered::Float);
    let forms =
        ["0.1", "1e-45", "-3.4028235e+38", "1e+10", "123456", "-0", "2.5", "Infinity", "NaN"];
    for form in forms {
        sample.push(FormType::Float4, form.as_bytes()).unwrap();
    }
    let set = sample.boundaries(1, 100);
    let mut json = Vec::new();
    set.write(&mut json);
    let again = Boundaries::parse(&json, Ordered::Float).unwrap();
    assert_eq!(again.intervals().count(), 7);
    for form in forms.iter().filter(|form| form.parse::<f32>().unwrap().is_finite()) {
        let ordinal = ordinal::of_float(form.parse::<f32>().unwrap().into());
        assert_eq!(again.interval_of(ordinal), set.interval_of(ordinal));
        let below = (again.interval_of(ordinal), again.interval_of(ordinal - 1));
        assert!(below.0 == 0 || below.0 == below.1 + 1, "{form}");
    }
}

/// What the catalog holds, and what is near it.
#[test]
fn texts_of_the_catalog_are_read_in_one_way() {
    for right in [
        "exact/1",
        "prefix(4) digits/1",
        "parts(3) casefold/1",
        "buckets numeric(-2)/1",
        "tree(2,1,16,9223372036854775808) date/1",
        r#"{"set":1,"bounds":["1","5"],"classes":[[0],[1,2],[3]]}"#,
        r#"{"set":7,"bounds":["2000-01-01"],"classes":[[1],[2]],"former":[[0],[0]]}"#,
        r#"{"set":7,"bounds":["-Infinity"],"classes":[[1],[2]]}"#,
    ] {
        crate::found::catalog(right.as_bytes());
        for at in 0..right.len() {
            for other in ["", "0", "1", "-", " ", ",", "\u{663}", "\u{ff11}", "\"", "[", "]"] {
                crate::found::catalog([&right[..at], other, &right[at..]].concat().as_bytes());
                crate::found::catalog([&right[..at], other, &right[at + 1..]].concat().as_bytes());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_true_is_found(first in any::<char>(), second in any::<char>(), text in text()) {
        crate::found::check(format!("{first}{second}{text}").as_bytes());
    }

    #[test]
    fn what_is_no_text_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        crate::found::check(&bytes);
    }
}
