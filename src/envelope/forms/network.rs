//! Addresses of `inet` and `cidr`: the address as PostgreSQL writes it, `/`, and its bits, always.
//!
//! Of IPv6 the longest run of zeros is `::`, the first of equals. Where the first 96 bits are zero, or all but the
//! last 16 of them, and the rest does not begin with 16 zeros, the last 32 are written as those of IPv4.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::line::Line;
use super::{Sink, same_again};

/// An address, its bytes in network order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// IPv4.
    V4([u8; 4]),
    /// IPv6.
    V6([u8; 16]),
}

impl Address {
    /// The bits that it has at most.
    #[must_use]
    pub fn longest(&self) -> u8 {
        match self {
            Address::V4(_) => 32,
            Address::V6(_) => 128,
        }
    }

    /// Whether all but the first `bits` are zero, as a network's are.
    #[must_use]
    pub fn is_network(&self, bits: u8) -> bool {
        let bytes: &[u8] = match self {
            Address::V4(bytes) => bytes,
            Address::V6(bytes) => bytes,
        };
        bytes.iter().enumerate().all(|(at, byte)| {
            let known = usize::from(bits).saturating_sub(at * 8).min(8);
            *byte & !(0xff00_u16 >> known) as u8 == 0
        })
    }
}

/// `10.0.0.1/32`.
pub fn write(address: Address, bits: u8, out: &mut impl Sink) {
    let mut line = Line::new();
    write_both(&(address, bits), &mut line);
    out.push(line.as_slice());
}

/// Reads what [`write`] writes, with no more bits than the address has.
#[must_use]
pub fn read(form: &[u8]) -> Option<(Address, u8)> {
    let form = std::str::from_utf8(form).ok()?;
    let (address, bits) = form.split_once('/')?;
    let address = match address.parse::<Ipv4Addr>() {
        Ok(address) => Address::V4(address.octets()),
        Err(_) => Address::V6(address.parse::<Ipv6Addr>().ok()?.octets()),
    };
    let bits = bits.parse().ok().filter(|bits| *bits <= address.longest())?;
    same_again(form.as_bytes(), (address, bits), write_both)
}

fn write_both((address, bits): &(Address, u8), line: &mut Line) {
    match address {
        Address::V4(bytes) => write_v4(bytes, line),
        Address::V6(bytes) => write_v6(bytes, line),
    }
    line.byte(b'/');
    line.number((*bits).into(), 1);
}

fn write_v4(bytes: &[u8], line: &mut Line) {
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 {
            line.byte(b'.');
        }
        line.number((*byte).into(), 1);
    }
}

fn write_v6(bytes: &[u8; 16], line: &mut Line) {
    let mut groups = [0; 8];
    for (group, pair) in groups.iter_mut().zip(bytes.chunks_exact(2)) {
        *group = u16::from_be_bytes([pair[0], pair[1]]);
    }
    let (from, len) = longest_zeros(&groups);
    let has_v4 = from == 0 && (len == 6 || len == 5 && groups[5] == 0xffff);
    for (at, group) in groups.iter().enumerate() {
        if (from..from + len).contains(&at) {
            if at == from {
                line.byte(b':');
            }
            continue;
        }
        if at > 0 {
            line.byte(b':');
        }
        if at == 6 && has_v4 {
            return write_v4(&bytes[12..], line);
        }
        write_group(*group, line);
    }
    if from + len == groups.len() {
        line.byte(b':');
    }
}

/// Where the longest run of two zero groups or more begins, and how long it is; of none, no length.
fn longest_zeros(groups: &[u16; 8]) -> (usize, usize) {
    let mut longest = (0, 0);
    for from in 0..groups.len() {
        let len = groups[from..].iter().take_while(|group| **group == 0).count();
        if len >= 2 && len > longest.1 {
            longest = (from, len);
        }
    }
    longest
}

/// In lower-case hex, without leading zeros.
fn write_group(group: u16, line: &mut Line) {
    let mut begun = false;
    for shift in [12, 8, 4, 0] {
        let digit = (group >> shift & 0xf) as u8;
        begun |= digit > 0 || shift == 0;
        if begun {
            line.byte(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back() {
        let forms = [
            "0.0.0.0/0",
            "10.0.0.1/32",
            "255.255.255.255/8",
            "::/0",
            "::1/128",
            "::ffff/128",
            "1::/16",
            "1::1/128",
            "2001:db8::8:800:200c:417a/64",
            "::ffff:1.2.3.4/128",
            "::1.2.3.4/128",
            "::0.1.0.2/128",
            "1:0:0:2::3/128",
            "1::2:0:0:3/128",
            "1:0:2:3:4:5:6:7/128",
            "0:1:2:3:4:5:6:0/128",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
            "::ffff:0:1.2.3.4/1",
        ];
        for form in &forms[..forms.len() - 1] {
            let (address, bits) = match read(form.as_bytes()) {
                Some(read) => read,
                None => unreachable!("{form}"),
            };
            let mut out = Vec::new();
            write(address, bits, &mut out);
            assert_eq!(out, form.as_bytes(), "{form}");
        }
        let others = [
            "",
            "10.0.0.1",
            "10.0.0/24",
            "10.0.0.1/33",
            "10.0.0.1/032",
            "010.0.0.1/32",
            "::1/129",
            "::1",
            "0::1/128",
            "::01/128",
            "::FFFF/128",
            "1:0::2:0:0:3/128",
            "::102:304/128",
            "::ffff:102:304/128",
            "10.0.0.1/",
            "/8",
            "10.0.0.1/+8",
            "::1%eth0/128",
            forms[forms.len() - 1],
        ];
        for other in others {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn networks_have_no_bits_beyond() {
        let v4 = Address::V4([10, 0, 128, 0]);
        assert!(v4.is_network(17) && v4.is_network(32));
        assert!(!v4.is_network(16) && !v4.is_network(0));
        assert!(Address::V6([0; 16]).is_network(0));
    }
}
