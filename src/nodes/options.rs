//! What CREATE SERVER and CREATE USER MAPPING say of a connection, by the names and with the meaning that they have for
//! postgres_fdw, as far as the client has them.

use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs};

/// A connection as it is to be made.
#[derive(Debug)]
pub struct Wish {
    pub config: Config,
    pub checked: Checked,
    /// Of CAs in PEM; `system` for the system's.
    pub roots: Option<String>,
    pub cert: Option<String>,
    pub key: Option<String>,
}

/// What is checked of the other side's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    Nothing,
    /// That a CA has signed it.
    Chain,
    /// And that it is for the host's name.
    Name,
}

/// Why no connection can be made by them.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfit {
    /// There is no option of that name, or the client lacks it.
    Unknown(String),
    /// A value does not do, or one is missing.
    Value(String),
}

/// What postgres_fdw reads from a server besides how to connect.
const OF_THE_WRAPPER: [&str; 14] = [
    "analyze_sampling",
    "async_capable",
    "batch_size",
    "extensions",
    "fdw_startup_cost",
    "fdw_tuple_cost",
    "fetch_size",
    "keep_connections",
    "parallel_abort",
    "parallel_commit",
    "truncatable",
    "updatable",
    "use_remote_estimate",
    "fallback_application_name",
];

/// Reads the options of a server, and over them those of a mapping.
pub fn read(server: &[(String, String)], mapping: &[(String, String)]) -> Result<Wish, Unfit> {
    let mut config = Config::new();
    let (mut hosts, mut addresses, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    let (mut sslmode, mut roots, mut cert, mut key) = ("prefer", None, None, None);
    config.application_name("pgrx-example");
    for (name, value) in server.iter().chain(mapping) {
        match name.as_str() {
            "host" => hosts = list(value),
            "hostaddr" => addresses = list(value),
            "port" => ports = list(value),
            "sslmode" => sslmode = value,
            "sslrootcert" => roots = Some(value.clone()),
            "sslcert" => cert = Some(value.clone()),
            "sslkey" => key = Some(value.clone()),
            name if OF_THE_WRAPPER.contains(&name) => {}
            name => set(&mut config, name, value)?,
        }
    }
    if config.get_user().is_none_or(str::is_empty) {
        return Err(Unfit::Value("the user mapping has no option user".into()));
    }
    if hosts.is_empty() {
        hosts.clone_from(&addresses);
    }
    if hosts.is_empty() {
        return Err(Unfit::Value("the server has neither option host nor hostaddr".into()));
    }
    for host in &hosts {
        config.host(*host);
    }
    // An address is what is connected to, whatever the host is called.
    let is_local = addresses.is_empty() && hosts.iter().all(|host| host.starts_with('/'));
    for address in addresses {
        config.hostaddr(number("hostaddr", address)?);
    }
    for port in ports {
        config.port(number("port", port)?);
    }
    let checked = checked(sslmode, roots.as_deref())?;
    config.ssl_mode(match sslmode {
        // As libpq has it, TLS is not for sockets in the file system.
        _ if is_local => SslMode::Disable,
        "disable" => SslMode::Disable,
        "prefer" => SslMode::Prefer,
        _ => SslMode::Require,
    });
    if cert.is_some() != key.is_some() {
        return Err(Unfit::Value("of the options sslcert and sslkey one is missing".into()));
    }
    Ok(Wish { config, checked, roots, cert, key })
}

/// What `sslmode` asks for; where CAs are named, a certificate is never less than signed by one of them.
fn checked(sslmode: &str, roots: Option<&str>) -> Result<Checked, Unfit> {
    let value = |why: &str| Err(Unfit::Value(why.into()));
    match (sslmode, roots) {
        ("verify-full", Some(_)) => Ok(Checked::Name),
        ("disable" | "prefer" | "require", None) => Ok(Checked::Nothing),
        ("disable", Some(_)) => Ok(Checked::Nothing),
        ("prefer" | "require" | "verify-ca", Some("system")) => {
            value("with sslrootcert=system, sslmode must be verify-full")
        }
        ("prefer" | "require" | "verify-ca", Some(_)) => Ok(Checked::Chain),
        ("verify-ca" | "verify-full", None) => {
            value("sslmode verify-ca and verify-full need option sslrootcert")
        }
        _ => value("sslmode must be disable, prefer, require, verify-ca or verify-full"),
    }
}

fn set(config: &mut Config, name: &str, value: &str) -> Result<(), Unfit> {
    let seconds = || Ok(Duration::from_secs(number(name, value)?));
    let other = || Err(Unfit::Value(format!("option {name} has a value that is not supported")));
    match (name, value) {
        ("user", _) => config.user(value),
        ("password", _) => config.password(value),
        ("dbname", _) => config.dbname(value),
        ("application_name", _) => config.application_name(value),
        ("options", _) => config.options(value),
        // As libpq has it: 0 is no limit, and less than two seconds none.
        ("connect_timeout", "0") => config,
        ("connect_timeout", _) => config.connect_timeout(seconds()?.max(Duration::from_secs(2))),
        ("keepalives", _) => config.keepalives(number::<i32>(name, value)? != 0),
        ("keepalives_idle", _) => config.keepalives_idle(seconds()?),
        ("keepalives_interval", _) => config.keepalives_interval(seconds()?),
        ("keepalives_count", _) => config.keepalives_retries(number(name, value)?),
        ("tcp_user_timeout", _) => {
            config.tcp_user_timeout(Duration::from_millis(number(name, value)?))
        }
        ("target_session_attrs", "any") => config.target_session_attrs(TargetSessionAttrs::Any),
        ("target_session_attrs", "read-write" | "primary") => {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite)
        }
        ("load_balance_hosts", "disable") => config.load_balance_hosts(LoadBalanceHosts::Disable),
        ("load_balance_hosts", "random") => config.load_balance_hosts(LoadBalanceHosts::Random),
        ("sslnegotiation", "postgres") => config.ssl_negotiation(SslNegotiation::Postgres),
        ("sslnegotiation", "direct") => config.ssl_negotiation(SslNegotiation::Direct),
        // What the client does not do, and is not asked to.
        ("gssencmode" | "channel_binding", "disable" | "prefer") | ("sslcompression", "0") => {
            config
        }
        (
            "target_session_attrs"
            | "load_balance_hosts"
            | "sslnegotiation"
            | "gssencmode"
            | "channel_binding"
            | "sslcompression",
            _,
        ) => return other(),
        _ => return Err(Unfit::Unknown(name.to_owned())),
    };
    Ok(())
}

/// Those between commas.
fn list(value: &str) -> Vec<&str> {
    value.split(',').map(str::trim).filter(|one| !one.is_empty()).collect()
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, Unfit> {
    value
        .trim()
        .parse()
        .map_err(|_| Unfit::Value(format!("option {name} has a value that cannot be read")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(server: &[(&str, &str)], mapping: &[(&str, &str)]) -> Result<Wish, Unfit> {
        let owned = |options: &[(&str, &str)]| -> Vec<(String, String)> {
            options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        read(&owned(server), &owned(mapping))
    }

    const AT: (&str, &str) = ("host", "a.example");
    const AS: &[(&str, &str)] = &[("user", "u")];

    fn unfit(server: &[(&str, &str)]) -> Option<Unfit> {
        read_of(server, AS).err()
    }

    #[test]
    fn where_and_as_whom() {
        let wish = read_of(
            &[("host", "a, b"), ("port", "1,2"), ("dbname", "d"), ("fetch_size", "7")],
            &[("user", "u"), ("password", "p")],
        );
        let config = wish.map(|wish| wish.config).unwrap_or_default();
        assert_eq!((config.get_hosts().len(), config.get_ports()), (2, &[1, 2][..]));
        assert_eq!((config.get_user(), config.get_dbname()), (Some("u"), Some("d")));
        assert!(
            matches!(read_of(&[AT], &[]), Err(Unfit::Value(_))),
            "never as the server's own user"
        );
        assert!(matches!(read_of(&[], AS), Err(Unfit::Value(_))));
        assert!(read_of(&[("hostaddr", "127.0.0.1")], AS).is_ok());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for name in ["passfile", "service", "sslcrl", "krbsrvname", "hots"] {
            assert_eq!(unfit(&[AT, (name, "x")]), Some(Unfit::Unknown(name.into())));
        }
        for option in [
            ("port", "x"),
            ("channel_binding", "require"),
            ("gssencmode", "require"),
            ("hostaddr", "h"),
        ] {
            assert!(matches!(unfit(&[AT, option]), Some(Unfit::Value(_))), "{option:?}");
        }
    }

    #[test]
    fn sslmode_means_what_libpq_means() {
        let mode = |options: &[(&str, &str)]| {
            read_of(&[&[AT], options].concat(), AS)
                .map(|wish| (wish.config.get_ssl_mode(), wish.checked))
                .ok()
        };
        let roots = ("sslrootcert", "/ca");
        assert_eq!(mode(&[]), Some((SslMode::Prefer, Checked::Nothing)));
        assert_eq!(mode(&[roots]), Some((SslMode::Prefer, Checked::Chain)));
        assert_eq!(
            mode(&[("sslmode", "disable"), roots]),
            Some((SslMode::Disable, Checked::Nothing))
        );
        assert_eq!(mode(&[("sslmode", "require")]), Some((SslMode::Require, Checked::Nothing)));
        assert_eq!(
            mode(&[("sslmode", "require"), roots]),
            Some((SslMode::Require, Checked::Chain))
        );
        assert_eq!(
            mode(&[("sslmode", "verify-ca"), roots]),
            Some((SslMode::Require, Checked::Chain))
        );
        assert_eq!(
            mode(&[("sslmode", "verify-full"), roots]),
            Some((SslMode::Require, Checked::Name))
        );
        assert_eq!(
            mode(&[("sslmode", "verify-full"), ("sslrootcert", "system")]),
            Some((SslMode::Require, Checked::Name))
        );
        for sslmode in ["verify-ca", "verify-full", "allow", "REQUIRE", ""] {
            assert_eq!(mode(&[("sslmode", sslmode)]), None, "{sslmode}");
        }
        assert_eq!(mode(&[("sslmode", "verify-ca"), ("sslrootcert", "system")]), None);
        let local = read_of(&[("host", "/run"), ("sslmode", "require")], AS);
        assert_eq!(local.map(|wish| wish.config.get_ssl_mode()).ok(), Some(SslMode::Disable));
        // Connected to is the address.
        let named =
            read_of(&[("host", "/run"), ("hostaddr", "10.0.0.1"), ("sslmode", "require")], AS);
        assert_eq!(named.map(|wish| wish.config.get_ssl_mode()).ok(), Some(SslMode::Require));
    }
}
