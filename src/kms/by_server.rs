//! A setting that may differ from server to server: one value for all, or `host:port=value` pairs
//! divided by commas.

#![allow(dead_code, reason = "for providers, which a build may leave out")]

use super::uri::Authority;

/// What `setting` says for the server at `authority`, whose usual port is `usual`. `None` when it is
/// unset, empty, or has pairs for other servers alone.
///
/// # Errors
/// What is wrong with the setting; its values are not shown.
pub(super) fn value<'a>(
    setting: Option<&'a str>,
    authority: &Authority,
    usual: u16,
) -> Result<Option<&'a str>, &'static str> {
    let Some(setting) = setting.map(str::trim).filter(|setting| !setting.is_empty()) else {
        return Ok(None);
    };
    let mut pairs = Vec::new();
    let mut others = 0;
    for piece in setting.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
        match pair(piece) {
            Some(pair) => pairs.push(pair),
            None => others += 1,
        }
    }
    if pairs.is_empty() {
        return Ok(Some(setting));
    }
    if others > 0 {
        return Err("it has both host:port=value pairs and something else");
    }
    let asked = authority.with_port(usual);
    let mut found = pairs.iter().filter(|(server, _)| *server == asked);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err("it names a server twice"),
        (Some((_, value)), None) if !value.is_empty() => Ok(Some(value)),
        _ => Ok(None),
    }
}

/// A server with its port, and what stands behind the first `=`.
fn pair(piece: &str) -> Option<(Authority, &str)> {
    let (server, value) = piece.split_once('=')?;
    let server = Authority::parse(server.trim()).ok().filter(Authority::has_port)?;
    Some((server, value.trim()))
}

#[cfg(test)]
mod tests {
    use super::super::uri::Authority;
    use super::value;

    fn of(setting: &str, server: &str) -> Result<Option<String>, &'static str> {
        let authority = Authority::parse(server).map_err(|_| "no server")?;
        Ok(value(Some(setting), &authority, 8200)?.map(str::to_owned))
    }

    #[test]
    fn one_value_serves_all_and_pairs_their_own() {
        for (setting, server, expected) in [
            ("/etc/ca.pem", "h", Some("/etc/ca.pem")),
            (" /a=b,c ", "h", Some("/a=b,c")),
            ("role", "h:1", Some("role")),
            ("", "h", None),
            (" , ", "h", Some(",")),
            ("h:8200=/a, [::1]:1=/b=c", "h", Some("/a")),
            ("h:8200=/a, [::1]:1=/b=c", "h:8200", Some("/a")),
            ("h:8200=/a, [::1]:1=/b=c", "[::1]:1", Some("/b=c")),
            ("h:8200=/a, [::1]:1=/b=c", "h:1", None),
            ("h:8200=", "h", None),
        ] {
            assert_eq!(
                of(setting, server),
                Ok(expected.map(str::to_owned)),
                "{setting:?} {server}"
            );
        }
    }

    #[test]
    fn a_mixture_is_refused() {
        for setting in ["h:8200=/a,/b", "/b,h:8200=/a", "h:8200=/a,h:8200=/b"] {
            assert!(of(setting, "h").is_err(), "{setting}");
        }
    }
}
