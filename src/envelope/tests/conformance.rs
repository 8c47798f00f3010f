//! All of `tests/vectors/conformance-1.json`, which the readers of `interop` pass as well.

use serde_json::Value as Json;

const VECTORS: &str = include_str!("../../../tests/vectors/conformance-1.json");

#[test]
fn every_vector() {
    let vectors: Json = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(vectors["format"], "envelope/1 conformance");
    let vectors = vectors["vectors"].as_array().unwrap();
    assert!(vectors.len() > 1000);
    for vector in vectors {
        let Some(answer) = crate::answers::answer(vector) else {
            // What the extension does, or PostgreSQL.
            assert_eq!(vector["in_crate"], false, "{}", vector["name"]);
            continue;
        };
        for outcome in ["gives", "fails"] {
            assert_eq!(answer.get(outcome), vector.get(outcome), "{}", vector["name"]);
        }
    }
}
