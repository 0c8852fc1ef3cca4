//! One value as it was given, and the kinds of value that keys want. A kind says what is wanted as the end of a
//! sentence that the key begins: `gateway.workers` "wants a whole number from 0 to 1024".

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use toml::de::DeValue;

use super::report::{Place, Placed};
use crate::model::{Lifetime, Network};

/// The longest that anything may be told to wait: there is no "for ever", and clocks need not fear an overflow.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// The latest start (2100-01-01) from which a lifetime must still end within the calendar.
const FAR: Timestamp = Timestamp::constant(4_102_444_800, 0);

/// A value and where it was given.
pub(super) struct Given<'a> {
    pub(super) raw: Raw<'a>,
    pub(super) place: Place,
}

pub(super) enum Raw<'a> {
    /// From the file.
    Toml(&'a DeValue<'a>),
    /// From an environment variable, which knows no types.
    Text(&'a str),
}

impl<'a> Given<'a> {
    pub(super) const fn toml(value: &'a DeValue<'a>, offset: usize) -> Self {
        Self { raw: Raw::Toml(value), place: Place::File(offset) }
    }

    /// The text, where `what` is text.
    pub(super) fn text(&self, what: &str) -> Result<&'a str, String> {
        match self.raw {
            Raw::Text(text) => Ok(text),
            Raw::Toml(DeValue::String(text)) => Ok(text),
            Raw::Toml(_) => Err(self.unlike(what)),
        }
    }

    /// The values of a list, where `what` describes it.
    pub(super) fn items(&self, what: &str) -> Result<Vec<Given<'a>>, String> {
        match self.raw {
            Raw::Text(list) if list.trim().is_empty() => Ok(Vec::new()),
            Raw::Text(list) => Ok(list
                .split(',')
                .map(|item| Given { raw: Raw::Text(item.trim()), place: self.place.clone() })
                .collect()),
            Raw::Toml(DeValue::Array(list)) => {
                Ok(list.iter().map(|item| Given::toml(item.get_ref(), item.span().start)).collect())
            }
            Raw::Toml(_) => Err(self.unlike(what)),
        }
    }

    /// The entries of a table whose keys are the user's, in the order of the file, where `what` describes it.
    pub(super) fn pairs(&self, what: &str) -> Result<Vec<(Placed<String>, Given<'a>)>, String> {
        let Raw::Toml(DeValue::Table(table)) = self.raw else { return Err(self.unlike(what)) };
        let mut pairs: Vec<_> = table.iter().collect();
        pairs.sort_by_key(|(name, _)| name.span().start);
        let pair = |(name, value): (&toml::Spanned<_>, &'a toml::Spanned<DeValue<'a>>)| {
            let name: (&std::borrow::Cow<'_, str>, usize) = (name.get_ref(), name.span().start);
            let key = Placed { value: name.0.to_string(), place: Place::File(name.1) };
            (key, Given::toml(value.get_ref(), value.span().start))
        };
        Ok(pairs.into_iter().map(pair).collect())
    }

    /// That something else is wanted, and what this is.
    pub(super) fn unlike(&self, what: &str) -> String {
        let is = match self.raw {
            Raw::Text(_) | Raw::Toml(DeValue::String(_)) => "a string",
            Raw::Toml(DeValue::Integer(_)) => "a number",
            Raw::Toml(DeValue::Float(_)) => "a number with a fraction",
            Raw::Toml(DeValue::Boolean(_)) => "true or false",
            Raw::Toml(DeValue::Datetime(_)) => "a date or time",
            Raw::Toml(DeValue::Array(_)) => "a list",
            Raw::Toml(DeValue::Table(_)) => "a table",
        };
        format!("wants {what}, not {is}")
    }
}

pub(super) fn boolean(given: &Given<'_>) -> Result<bool, String> {
    const WHAT: &str = "`true` or `false`";
    match given.raw {
        Raw::Toml(DeValue::Boolean(value)) => Ok(*value),
        Raw::Text("true") => Ok(true),
        Raw::Text("false") => Ok(false),
        Raw::Text(_) => Err(format!("wants {WHAT}")),
        Raw::Toml(_) => Err(given.unlike(WHAT)),
    }
}

/// A whole number within `range`.
pub(super) fn number<T>(range: RangeInclusive<T>) -> impl Fn(&Given<'_>) -> Result<T, String>
where
    T: TryFrom<u64> + PartialOrd + std::fmt::Display,
{
    move |given| {
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        T::try_from(whole(given, &what)?)
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("wants {what}"))
    }
}

/// A number of bytes, however large.
pub(super) fn bytes(given: &Given<'_>) -> Result<u64, String> {
    whole(given, "a number of bytes, as in 1048576")
}

/// A length of time that is the same whenever it begins.
pub(super) fn duration(given: &Given<'_>) -> Result<Duration, String> {
    const WHAT: &str = "a duration: a whole number and a unit (ms, s, m for minutes, h or d), as in \"30s\"";
    let lifetime = Lifetime::parse(given.text(WHAT)?).map_err(|_| format!("wants {WHAT}"))?;
    match lifetime.fixed() {
        Some(duration) if duration <= LONGEST => Ok(duration),
        Some(_) => Err("wants a duration of at most 366d".to_owned()),
        None => {
            Err("cannot count in months or years, which differ in length: use d, as in \"90d\"".to_owned())
        }
    }
}

pub(super) fn positive_duration(given: &Given<'_>) -> Result<Duration, String> {
    match duration(given)? {
        Duration::ZERO => Err("wants more than no time at all, as in \"10s\"".to_owned()),
        duration => Ok(duration),
    }
}

/// A length of time by the calendar, longer than none.
pub(super) fn lifetime(given: &Given<'_>) -> Result<Lifetime, String> {
    const WHAT: &str = "a duration: a whole number and a unit (ms, s, m for minutes, h, d, mo for calendar months, y), \
                        as in \"7d\"";
    let lifetime = Lifetime::parse(given.text(WHAT)?).map_err(|_| format!("wants {WHAT}"))?;
    if lifetime.is_zero() {
        return Err("wants more than no time at all, as in \"7d\"".to_owned());
    }
    if lifetime.after(FAR).is_none() {
        return Err("reaches past the year 9999: wants a shorter time".to_owned());
    }
    Ok(lifetime)
}

pub(super) fn address(given: &Given<'_>) -> Result<SocketAddr, String> {
    const WHAT: &str = "an IP address and port, as in \"127.0.0.1:8080\" or \"[::1]:8080\"";
    given.text(WHAT)?.parse().map_err(|_| format!("wants {WHAT}"))
}

/// A network, or an address, which is a network of one. IPv4 in IPv6 clothes becomes IPv4, as do peers.
pub(super) fn network(given: &Given<'_>) -> Result<IpNet, String> {
    const WHAT: &str = "a network or an address, as in \"10.0.0.0/8\" or \"192.0.2.7\"";
    Network::parse(given.text(WHAT)?).map(|network| network.as_net()).map_err(|_| format!("wants {WHAT}"))
}

/// The path of a file, as written.
pub(super) fn path(given: &Given<'_>) -> Result<String, String> {
    const WHAT: &str = "the path of a file";
    match given.text(WHAT)? {
        path if path.is_empty() || path.contains('\0') => Err(format!("wants {WHAT}")),
        path => Ok(path.to_owned()),
    }
}

/// One of a few words, each with its meaning.
pub(super) fn word<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Given<'_>) -> Result<T, String> {
    move |given| {
        let names: Vec<_> = words.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let what = names.join(" or ");
        let text = given.text(&what)?;
        words
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| format!("wants {what}"))
    }
}

fn whole(given: &Given<'_>, what: &str) -> Result<u64, String> {
    let number = match given.raw {
        Raw::Toml(DeValue::Integer(number)) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        Raw::Text(text) => text.parse().ok(),
        Raw::Toml(_) => return Err(given.unlike(what)),
    };
    number.ok_or_else(|| format!("wants {what}"))
}
