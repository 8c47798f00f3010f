//! The encryption context as text, against vectors by another implementation, which say as well what the rules of RFC 8785,
//! jsonb and others make of it.

use std::collections::BTreeMap;

use envelope::wrap::EncryptionContext;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    contexts: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    context: BTreeMap<String, String>,
    form: String,
    not: BTreeMap<String, String>,
}

#[test]
fn contexts_as_text() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../../tests/vectors/contexts-1.json")).unwrap();
    assert_eq!(vectors.contexts.len(), 32);
    let mut caught = BTreeMap::<String, u32>::new();
    for Vector { context, form, not } in vectors.contexts {
        let json = EncryptionContext::from(context).canonical_json();
        assert_eq!(json, form);
        for (rule, other) in not {
            assert_ne!(json, other, "{rule}");
            *caught.entry(rule).or_default() += 1;
        }
    }
    assert_eq!(caught.len(), 5);
}
