//! `host[:port]` in a KEK's name: which server is asked.
//!
//! Parsed strictly, since credentials are sent there. A host has one spelling, so that equal KEKs
//! are equal text.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::refused::Refused;

const HINT: &str = "Write the host in lower case, or its IP address (an IPv6 address in brackets), and \
    a port after a colon if it is not the usual one; no user, no password.";

/// A host and, where one is given, a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::kms) struct Authority {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Host {
    Name(String),
    Ip(IpAddr),
}

impl Authority {
    /// # Errors
    /// What is wrong with `text`.
    pub(in crate::kms) fn parse(text: &str) -> Result<Self, Refused> {
        let refuse = |why: &str| Refused::new(why, HINT);
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (ip, rest) = rest.split_once(']').unwrap_or_default();
                let ip: Ipv6Addr = ip.parse().map_err(|_| refuse("it names no host"))?;
                (Host::Ip(ip.into()), rest)
            }
            None => {
                let (name, _) = text.split_once(':').unwrap_or((text, ""));
                let host = Host::parse(name).ok_or_else(|| refuse("it names no host"))?;
                (host, text.get(name.len()..).unwrap_or_default())
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(read_port(digits).ok_or_else(|| refuse("its port is none"))?),
            None if port.is_empty() => None,
            None => return Err(refuse("it names no host")),
        };
        let authority = Self { host, port };
        // Another spelling of the same address would be another KEK.
        if authority.to_string() != text {
            return Err(Refused::new(
                "the address is not in its plainest form",
                format!("Write {authority}."),
            ));
        }
        Ok(authority)
    }
}

#[allow(dead_code, reason = "for providers, which a build may leave out")]
impl Authority {
    /// The host as a certificate names it: no brackets.
    pub(in crate::kms) fn host(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::Ip(ip) => ip.to_string(),
        }
    }

    /// The port, or `usual`.
    pub(in crate::kms) fn port(&self, usual: u16) -> u16 {
        self.port.unwrap_or(usual)
    }

    /// `host:port`, with `usual` where no port is given: the same for all spellings of one server.
    pub(in crate::kms) fn with_port(&self, usual: u16) -> Authority {
        Self { host: self.host.clone(), port: Some(self.port(usual)) }
    }

    /// Whether a port is given.
    pub(in crate::kms) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Whether it is this machine, whatever the resolver says.
    pub(in crate::kms) fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Name(name) => name == "localhost",
            Host::Ip(ip) => ip.is_loopback(),
        }
    }
}

impl Host {
    fn parse(text: &str) -> Option<Host> {
        let last = text.rsplit('.').next().unwrap_or_default();
        // As browsers do: what ends in a number is an IPv4 address or nothing.
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse::<Ipv4Addr>().ok().map(|ip| Host::Ip(ip.into()));
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
        };
        (text.len() <= 253 && text.split('.').all(is_label)).then(|| Host::Name(text.to_owned()))
    }
}

fn read_port(digits: &str) -> Option<u16> {
    let is_number = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    is_number.then(|| digits.parse().ok()).flatten()
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}")?,
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_spelling() -> Result<(), Refused> {
        for (text, host, port, is_loopback) in [
            ("vault.example.com", "vault.example.com", 8200, false),
            ("vault_1:1", "vault_1", 1, false),
            ("localhost:65535", "localhost", 65535, true),
            ("127.0.0.1", "127.0.0.1", 8200, true),
            ("127.9.0.1:443", "127.9.0.1", 443, true),
            ("10.0.0.1", "10.0.0.1", 8200, false),
            ("[::1]", "::1", 8200, true),
            ("[2001:db8::1]:8200", "2001:db8::1", 8200, false),
            ("1a.b2", "1a.b2", 8200, false),
        ] {
            let read = Authority::parse(text)?;
            assert_eq!(read.to_string(), text);
            assert_eq!((read.host(), read.port(8200)), (host.to_owned(), port), "{text}");
            assert_eq!(read.is_loopback(), is_loopback, "{text}");
        }
        let same = Authority::parse("h")?.with_port(8200);
        assert_eq!(same, Authority::parse("h:8200")?.with_port(8200));
        Ok(())
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in [
            "",
            ":8200",
            "Vault",
            "vault.",
            ".vault",
            "a..b",
            "-a",
            "a-",
            "a b",
            "\u{e9}",
            "user@host",
            "user:pw@host",
            "host:",
            "host:0",
            "host:080",
            "host:65536",
            "host:+1",
            "host:1:2",
            "127.1",
            "127.0.0.01",
            "256.0.0.1",
            "1",
            "0x7f.1",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]8200",
            "[0:0::1]",
            "[::FFFF]",
            "[127.0.0.1]",
            "[fe80::1%25eth0]",
            "a*",
        ] {
            assert!(Authority::parse(text).is_err(), "{text}");
        }
        assert!(Authority::parse(&"a".repeat(64)).is_err());
        assert!(Authority::parse(&"a.".repeat(127)).is_err());
    }
}
