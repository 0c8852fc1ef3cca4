//! Text with places in it for secrets: `Bearer $Secret{SHOP_KEY}`.

use super::SecretName;

/// What a place for a secret begins and ends with.
const OPEN: &str = "$Secret{";
const CLOSE: char = '}';

/// Why a text was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    #[error("has a `$Secret{{` without the `}}` that ends it")]
    Open,
    #[error(
        "names no secret in `$Secret{{…}}`: a name is capital letters, digits and `_`, as in `$Secret{{SHOP_KEY}}`"
    )]
    Name,
    #[error("spells `$Secret{{…}}` otherwise: only its first letter is a capital")]
    Spelling,
}

/// A text, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Secret(SecretName),
}

impl Template {
    /// # Errors
    /// When what looks like a place for a secret is none.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            let (name, behind) = after.split_once(CLOSE).ok_or(InvalidTemplate::Open)?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Secret(SecretName::parse(name).map_err(|_| InvalidTemplate::Name)?));
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        let misspelt = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_ascii_lowercase().contains(&OPEN.to_ascii_lowercase()),
            Piece::Secret(_) => false,
        };
        if pieces.iter().any(misspelt) {
            return Err(InvalidTemplate::Spelling);
        }
        Ok(Self(pieces))
    }

    /// The same with `text` before it.
    #[must_use]
    pub fn after(mut self, text: &str) -> Self {
        self.0.insert(0, Piece::Text(text.to_owned()));
        self
    }

    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The secrets that it has places for, some more than once.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Secret(name) => Some(name),
            Piece::Text(_) => None,
        })
    }

    /// Whether a field's value that is the text, with fit values in its places, is one.
    #[must_use]
    pub fn fits_a_field(&self) -> bool {
        let texts = || {
            self.0.iter().filter_map(|piece| match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Secret(_) => None,
            })
        };
        let padded = texts().next().is_some_and(|text| text.starts_with([' ', '\t']))
            && matches!(self.0.first(), Some(Piece::Text(_)));
        !padded && texts().all(|text| !text.chars().any(char::is_control))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_and_the_rest_is_text() {
        let name = |name: &str| Piece::Secret(SecretName::parse(name).unwrap());
        let text = |text: &str| Piece::Text(text.to_owned());
        for (given, pieces) in [
            ("", vec![]),
            ("plain $ $Secret } {A}", vec![text("plain $ $Secret } {A}")]),
            ("$Secret{A}", vec![name("A")]),
            ("Bearer $Secret{A}", vec![text("Bearer "), name("A")]),
            ("$Secret{A}:$Secret{B_2}.", vec![name("A"), text(":"), name("B_2"), text(".")]),
        ] {
            assert_eq!(Template::parse(given).unwrap().pieces(), pieces, "{given}");
        }
        for (given, wrong) in [
            ("$Secret{A", InvalidTemplate::Open),
            ("$Secret{}", InvalidTemplate::Name),
            ("$Secret{a}", InvalidTemplate::Name),
            ("$Secret{$Secret{A}}", InvalidTemplate::Name),
            ("$secret{A}", InvalidTemplate::Spelling),
            ("$Secret{A} $SECRET{A}", InvalidTemplate::Spelling),
        ] {
            assert_eq!(Template::parse(given), Err(wrong), "{given}");
        }
    }
}
