//! The test vectors of the XAES-256-GCM specification (<https://c2sp.org/XAES-256-GCM>).

use envelope::xaes::{DerivedKey, XaesKey};
use shake::Shake128;
use shake::digest::{ExtendableOutput, Update, XofReader};

/// Seals and opens again, by both implementations, and gives ciphertext ‖ tag.
fn seal(key: &[u8; 32], nonce: &[u8; 24], plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
    let key = XaesKey::new(key);
    let mut buf = plaintext.to_vec();
    let tag = key.seal_in_place(nonce, aad, &mut buf).unwrap();
    let sealed = [&buf[..], &tag].concat();
    key.open_in_place(nonce, aad, &mut buf, &tag).unwrap();
    assert_eq!(buf, plaintext);

    let mut derived = DerivedKey::none();
    let (prefix, iv) = nonce.split_first_chunk().unwrap();
    let iv = iv.try_into().unwrap();
    key.derive(prefix, &mut derived);
    let (mut other, mut same) = (vec![0; buf.len()], [0; 16]);
    derived.seal(iv, aad, plaintext, &mut other, &mut same).unwrap();
    assert_eq!([&other[..], &same].concat(), sealed);
    derived.open(iv, aad, &other, &tag, &mut buf).unwrap();
    assert_eq!(buf, plaintext);
    sealed
}

/// The two keys differ in the first bit of the encrypted zero block, so both ways of doubling K1 are seen.
#[test]
fn the_two_named_vectors() {
    let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
    let plaintext = b"XAES-256-GCM";
    assert_eq!(
        hex::encode(seal(&[1; 32], nonce, plaintext, b"")),
        "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"
    );
    assert_eq!(
        hex::encode(seal(&[3; 32], nonce, plaintext, b"c2sp.org/XAES-256-GCM")),
        "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"
    );
}

/// Inputs are drawn from SHAKE128 of nothing, outputs go into another SHAKE128.
fn accumulated(iterations: u32) -> String {
    let mut source = Shake128::default().finalize_xof();
    let mut outputs = Shake128::default();
    let (mut key, mut nonce) = ([0; 32], [0; 24]);
    let mut draw = || {
        let mut len = [0];
        source.read(&mut key);
        source.read(&mut nonce);
        let [plaintext, aad] = [(); 2].map(|()| {
            source.read(&mut len);
            let mut text = vec![0; usize::from(len[0])];
            source.read(&mut text);
            text
        });
        (key, nonce, plaintext, aad)
    };
    for _ in 0..iterations {
        let (key, nonce, plaintext, aad) = draw();
        outputs.update(&seal(&key, &nonce, &plaintext, &aad));
    }
    let mut digest = [0; 32];
    outputs.finalize_xof().read(&mut digest);
    hex::encode(digest)
}

#[test]
fn accumulated_10_000() {
    assert_eq!(
        accumulated(10_000),
        "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"
    );
}

#[test]
fn accumulated_1_000_000() {
    assert_eq!(
        accumulated(1_000_000),
        "2163ae1445985a30b60585ee67daa55674df06901b890593e824b8a7c885ab15"
    );
}
