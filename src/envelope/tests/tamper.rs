//! What was sealed opens, and nothing else does: random values, random damage.

use envelope::{DataKey, EncryptionContext, FileKek, Opening, SealKey, Sealed, Session};
use proptest::collection::vec;
use proptest::prelude::*;

fn seal(key: &SealKey, nonce: &[u8; 24], context: &str, plaintext: &[u8]) -> Vec<u8> {
    let mut session = Session::none();
    session.begin(key, nonce, 1);
    let mut frame = vec![0; plaintext.len() + 58];
    key.seal(&mut session, context.as_bytes(), plaintext, &mut frame).unwrap();
    frame
}

fn open(key: &SealKey, context: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let sealed = Sealed::parse(bytes).ok()?;
    let mut plaintext = vec![0; sealed.ciphertext.len()];
    let opened = key.open(&mut Opening::none(), &sealed, context.as_bytes(), &mut plaintext);
    opened.ok().map(|()| plaintext)
}

fn seal_key(dek: &[u8; 32]) -> SealKey {
    SealKey::from_data_key(&DataKey::try_from_slice(dek).unwrap())
}

/// `bytes` damaged in each way there is: one byte changed, cut at either end, longer by a byte at either end.
fn damaged(bytes: &[u8], mask: u8) -> impl Iterator<Item = Vec<u8>> {
    let changed = (0..bytes.len()).map(move |at| {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= mask;
        damaged
    });
    let cut = (0..bytes.len()).flat_map(|at| [bytes[..at].to_vec(), bytes[at + 1..].to_vec()]);
    changed.chain(cut).chain([[bytes, &[mask]].concat(), [&[mask], bytes].concat()])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_sealed_value_opens_and_no_other(
        dek: [u8; 32], other: [u8; 32], nonce: [u8; 24], plaintext in vec(any::<u8>(), 0..600),
        context in ".{0,100}", other_context in ".{0,100}", mask in 1u8..,
    ) {
        prop_assume!(dek != other && context != other_context);
        let key = seal_key(&dek);
        let sealed = seal(&key, &nonce, &context, &plaintext);
        prop_assert_eq!(sealed.len(), plaintext.len() + 58);
        prop_assert_eq!(open(&key, &context, &sealed), Some(plaintext));
        prop_assert_eq!(open(&key, &other_context, &sealed), None);

        let other = seal_key(&other);
        prop_assert_eq!(open(&other, &context, &sealed), None);
        // Under the other key's own header too, where the id does not give it away.
        let renamed = [&sealed[..2], &other.key_id().0, &sealed[18..]].concat();
        prop_assert_eq!(open(&other, &context, &renamed), None);

        for damaged in damaged(&sealed, mask) {
            prop_assert_eq!(open(&key, &context, &damaged), None);
        }
    }

    #[test]
    fn a_file_wrap_unwraps_and_no_other(
        kek: [u8; 32], other: [u8; 32], dek: [u8; 32], nonce: [u8; 24], mask in 1u8..,
        pairs in vec((".{0,20}", ".{0,200}"), 0..4),
    ) {
        prop_assume!(kek != other);
        let context: EncryptionContext = pairs.into_iter().collect();
        let mut other_context = context.clone();
        other_context.insert("one more", "");
        let (kek, other) = (FileKek::from_bytes(&kek), FileKek::from_bytes(&other));
        let wrapped = kek.wrap(&nonce, &DataKey::try_from_slice(&dek).unwrap(), &context);

        let unwrapped = kek.unwrap(&wrapped, &context).ok();
        prop_assert_eq!(unwrapped.as_ref().map(|key| key.as_bytes()), Some(&dek));
        prop_assert!(kek.unwrap(&wrapped, &other_context).is_err());
        prop_assert!(other.unwrap(&wrapped, &context).is_err());
        let renamed = [&wrapped[..2], &other.kek_id().0, &wrapped[18..]].concat();
        prop_assert!(other.unwrap(&renamed, &context).is_err());
        for damaged in damaged(&wrapped, mask) {
            prop_assert!(kek.unwrap(&damaged, &context).is_err());
        }
    }
}
