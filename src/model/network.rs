//! Networks that clients may come from.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// Why a network was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a network or an address, as in `10.0.0.0/8` or `192.0.2.7`")]
pub struct InvalidNetwork;

/// A network, or an address, which is a network of one. IPv4 in IPv6 clothes becomes IPv4, as do peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// # Errors
    /// When `text` is neither a network nor an address.
    pub fn parse(text: &str) -> Result<Self, InvalidNetwork> {
        let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network = parsed.map_err(|_| InvalidNetwork)?;
        let IpNet::V6(six) = network else { return Ok(Self(network)) };
        let mapped = six.addr().to_ipv4_mapped().zip(six.prefix_len().checked_sub(96));
        let four = mapped.and_then(|(four, prefix)| Ipv4Net::new(four, prefix).ok());
        Ok(Self(four.map_or(network, IpNet::V4)))
    }

    /// Without the bits behind its prefix.
    #[must_use]
    pub fn trunc(&self) -> Self {
        Self(self.0.trunc())
    }

    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    #[must_use]
    pub const fn as_net(&self) -> IpNet {
        self.0
    }
}

/// An address stands alone, as it is mostly written.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// Whether an address is of one link alone, as that of a cloud's metadata service is, which hands credentials to whatever
/// asks on that machine.
#[must_use]
pub fn is_link_local(address: IpAddr) -> bool {
    /// Amazon's metadata service, which is within no link-local network.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address.to_canonical() {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local() || six == METADATA,
    }
}

/// Whether both addresses are of one network, as large as one household or office mostly has it.
#[must_use]
pub fn are_near(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..3] == other.segments()[..3],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_addresses_of_either_spelling() {
        let holds = |network: &str, address: &str| {
            Network::parse(network).unwrap().trunc().contains(address.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.1.2.3") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.8"));
        assert!(holds("192.0.2.7", "::ffff:192.0.2.7") && holds("::ffff:192.0.2.7", "192.0.2.7"));
        assert!(holds("::ffff:10.0.0.0/104", "10.9.9.9") && holds("10.9.9.9/8", "10.1.1.1"));
        assert!(holds("2001:db8::/32", "2001:db8::1") && !holds("2001:db8::/32", "10.0.0.1"));
        assert!(!holds("::/0", "10.0.0.1"), "IPv6 is not IPv4");
        for (text, shown) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:DB8:0::1", "2001:db8::1"),
        ] {
            assert_eq!(Network::parse(text).unwrap().trunc().to_string(), shown);
        }
        for bad in ["", "10.0.0.0/33", "10.0.0", "localhost", "10.0.0.1:80", "fe80::1%eth0", "10.0.0.0/8 "] {
            assert_eq!(Network::parse(bad), Err(InvalidNetwork), "{bad:?}");
        }
    }

    #[test]
    fn links_and_metadata_services_are_told_from_networks() {
        let link = |address: &str| is_link_local(address.parse().unwrap());
        for local in ["169.254.169.254", "::ffff:169.254.0.1", "fe80::1", "febf::1", "fd00:ec2::254"] {
            assert!(link(local), "{local}");
        }
        for other in ["127.0.0.1", "10.0.0.1", "169.253.0.1", "::1", "fd00::1", "fec0::1"] {
            assert!(!link(other), "{other}");
        }
    }
}
