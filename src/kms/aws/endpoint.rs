//! `envelope.aws_endpoint_url`: where KMS answers, when it is not at AWS's own address.

use std::collections::BTreeMap;

/// A setting read: one endpoint for all regions, or one for each of some.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Endpoints {
    One(String),
    ByRegion(BTreeMap<String, String>),
}

impl Endpoints {
    /// A URL, or `region=url` pairs divided by commas. Empty: AWS's own endpoints.
    ///
    /// # Errors
    /// What is wrong with the setting.
    pub(super) fn parse(setting: &str) -> Result<Self, String> {
        let setting = setting.trim();
        if is_url(setting) && !setting.contains(',') {
            return Ok(Self::One(setting.to_owned()));
        }
        let mut by_region = BTreeMap::new();
        for pair in setting.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (region, url) =
                pair.split_once('=').map(|(a, b)| (a.trim(), b.trim())).unwrap_or_default();
            if region.is_empty() || region.contains([':', '/']) || !is_url(url) {
                return Err("a URL (http or https, without user or password) or region=url pairs \
                    divided by commas are wanted"
                    .into());
            }
            if by_region.insert(region.to_owned(), url.to_owned()).is_some() {
                return Err(format!("the region {region} is named twice"));
            }
        }
        Ok(Self::ByRegion(by_region))
    }

    /// The endpoint for `region`; `None` for AWS's own.
    pub(super) fn of(&self, region: &str) -> Option<&str> {
        match self {
            Self::One(url) => Some(url),
            Self::ByRegion(by_region) => by_region.get(region).map(String::as_str),
        }
    }
}

/// Enough to keep typing mistakes and credentials out; the client parses the rest.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with(['/', ':', '?'])
            && !rest.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_url_serves_all_regions() {
        let one = Endpoints::parse(" http://127.0.0.1:5000 ");
        assert_eq!(one.as_ref().map(|e| e.of("eu-west-1")), Ok(Some("http://127.0.0.1:5000")));
    }

    #[test]
    fn pairs_serve_their_regions_alone() {
        let both = Endpoints::parse("eu-west-1=http://a:1, us-east-1=https://b/x=y");
        let of = |region| both.as_ref().map(|e| e.of(region));
        assert_eq!(of("eu-west-1"), Ok(Some("http://a:1")));
        assert_eq!(of("us-east-1"), Ok(Some("https://b/x=y")));
        assert_eq!(of("ap-south-1"), Ok(None));
        assert_eq!(Endpoints::parse("").map(|e| e.of("eu-west-1").map(str::to_owned)), Ok(None));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for setting in [
            "kms",
            "ftp://x",
            "http://",
            "http:///x",
            "http://user:pw@host",
            "http://a b",
            "eu-west-1=",
            "=http://a",
            "http://a,http://b",
            "eu-west-1=http://a,eu-west-1=http://b",
            "eu-west-1=kms",
        ] {
            assert!(Endpoints::parse(setting).is_err(), "{setting:?}");
        }
    }
}
