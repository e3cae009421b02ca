//! Templates: text in which `{name}` is filled in if the name is known.
//!
//! Any other brace stands for itself, so JSON and GraphQL need no escapes. A name that nearly is a
//! known one is more likely mistyped than meant, and is an error.

use std::ops::Range;

use super::variables::{Name, Names, Values};

/// Text with places that are filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    parts: Box<[Part]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Name(Name),
}

/// A name in braces that is not known and nearly is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    /// Where the name stands in the text, without its braces.
    pub at: Range<usize>,
    /// The name as it is written there.
    pub found: String,
    /// The known name that was probably meant.
    pub meant: String,
}

/// A name that has no value yet where a template is to be filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoValue(pub Name);

impl Template {
    /// The template in `text`.
    ///
    /// # Errors
    /// All names that nearly are known ones.
    pub fn parse(text: &str, names: &Names) -> Result<Self, Vec<NearMiss>> {
        let mut parts = Vec::new();
        let mut wrong = Vec::new();
        let mut literal = String::new();
        for piece in pieces(text) {
            let name = match &piece {
                Piece::Text(_) => None,
                Piece::Hole { name, at } => names.find(name).or_else(|| {
                    wrong.extend(names.near_miss(name, at.clone()));
                    None
                }),
            };
            match name {
                None => literal.push_str(piece.text(text)),
                Some(name) => {
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal).into()));
                    }
                    parts.push(Part::Name(name));
                }
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        match wrong.is_empty() {
            true => Ok(Self {
                parts: parts.into(),
            }),
            false => Err(wrong),
        }
    }

    /// The names that are filled in, in order.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name) => Some(*name),
            Part::Text(_) => None,
        })
    }

    /// Whether `name` is filled in.
    #[must_use]
    pub fn mentions(&self, name: Name) -> bool {
        self.names().any(|one| one == name)
    }

    /// Whether it holds text of its own, beside names.
    #[must_use]
    pub fn has_text(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Text(_)))
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Appends the text with `values` filled in.
    ///
    /// # Errors
    /// A name has no value yet; what was appended is of no use then.
    pub fn fill(&self, values: &Values<'_>, out: &mut Vec<u8>) -> Result<(), NoValue> {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Name(Name::Payload) if values.payload.is_some() => {
                    out.extend_from_slice(values.payload.unwrap_or_default().as_bytes());
                }
                Part::Name(name) => {
                    let value = values.of(*name).ok_or(NoValue(*name))?;
                    out.extend_from_slice(value.as_bytes());
                }
            }
        }
        Ok(())
    }

    /// The text with `values` filled in.
    ///
    /// # Errors
    /// A name has no value yet.
    pub fn text(&self, values: &Values<'_>) -> Result<String, NoValue> {
        let mut text = Vec::new();
        self.fill(values, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// A piece of a text: taken literally, or a name in braces that may be one to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Text(&'t str),
    /// The name, and where it stands, without its braces.
    Hole {
        name: &'t str,
        at: Range<usize>,
    },
}

impl<'t> Piece<'t> {
    /// The piece as it is written in `text`.
    pub(super) fn text(&self, text: &'t str) -> &'t str {
        match self {
            Self::Text(piece) => piece,
            Self::Hole { at, .. } => &text[at.start - 1..at.end + 1],
        }
    }
}

/// The names that stand in braces in `text`, known or not.
pub fn names_in(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Hole { name, .. } => Some(name),
        Piece::Text(_) => None,
    })
}

/// Takes `text` apart. All pieces together are the text.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut from = 0;
    let mut hole = None;
    std::iter::from_fn(move || {
        if let Some(at) = hole.take() {
            let at: Range<usize> = at;
            from = at.end + 1;
            let name = &text[at.clone()];
            return Some(Piece::Hole { name, at });
        }
        let mut search = from;
        while let Some(brace) = text[search..].find('{').map(|at| search + at) {
            let begins = brace + 1;
            let length = text[begins..]
                .bytes()
                .take_while(|b| is_in_name(*b))
                .count();
            let ends = begins + length;
            if length > 0
                && text[ends..].starts_with('}')
                && !text[begins..].starts_with(['.', '-'])
            {
                if brace > from {
                    hole = Some(begins..ends);
                    return Some(Piece::Text(&text[from..brace]));
                }
                from = ends + 1;
                return Some(Piece::Hole {
                    name: &text[begins..ends],
                    at: begins..ends,
                });
            }
            search = begins;
        }
        let rest = &text[from..];
        from = text.len();
        (!rest.is_empty()).then_some(Piece::Text(rest))
    })
}

/// Whether a byte may stand in a name.
fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// Whether a text may be a name: `{…}` with it inside is a place to fill in.
#[must_use]
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_in_name) && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::application::variables::Source;

    fn names() -> Names {
        let mut names = Names::default();
        names.define("token", Source::Constant("t0k".into()), true);
        names.define("socket_id", Source::Captured, false);
        names
    }

    fn filled(text: &str) -> String {
        let names = names();
        let captured = [None, Some("12.3".into())];
        let values = Values {
            room: Some("lobby"),
            id: Some(7),
            payload: Some("cbm"),
            captured: &captured,
            ..Values::of_client(&names, "talkers-3")
        };
        Template::parse(text, &names)
            .unwrap()
            .text(&values)
            .unwrap()
    }

    #[test]
    fn known_names_are_filled_in_and_other_braces_stand_for_themselves() {
        for (text, expected) in [
            ("", ""),
            (
                r#"{"id":{id},"text":"{payload}"}"#,
                r#"{"id":7,"text":"cbm"}"#,
            ),
            ("{room}{room}", "lobbylobby"),
            ("{client}/{group}/{n}", "talkers-3/talkers/3"),
            ("{run}{token}{socket_id}", "0t0k12.3"),
            ("{{id}}", "{7}"),
            ("{id", "{id"),
            ("id}", "id}"),
            ("{}", "{}"),
            ("{ id }", "{ id }"),
            ("query{messages{text}}", "query{messages{text}}"),
            ("{.id}{-id}", "{.id}{-id}"),
            ("ü{id}ü", "ü7ü"),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn a_near_miss_of_a_known_name_is_an_error_with_its_place() {
        let text = r#"{"a":"{paylaod}","b":"{ID}","c":"{tokne}"}"#;
        let wrong = Template::parse(text, &names()).unwrap_err();
        let all: Vec<_> = wrong
            .iter()
            .map(|miss| (&text[miss.at.clone()], miss.meant.as_str()))
            .collect();
        assert_eq!(
            all,
            [("paylaod", "payload"), ("ID", "id"), ("tokne", "token")]
        );
        for meant_as_it_stands in ["{ix}", "{text}", "{r}", "{user}", "{message}", "{on}"] {
            assert_eq!(filled(meant_as_it_stands), meant_as_it_stands);
        }
    }

    #[test]
    fn a_name_without_a_value_is_said() {
        let names = names();
        let template = Template::parse("{socket_id}", &names).unwrap();
        let values = Values::of_client(&names, "a-1");
        let NoValue(name) = template.text(&values).unwrap_err();
        assert_eq!(names.name(name), "socket_id");
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_text_are_the_text(text in "[{}a-z.é \"-]{0,40}") {
            let whole: String = pieces(&text).map(|piece| piece.text(&text)).collect();
            prop_assert_eq!(whole, text);
        }

        #[test]
        fn text_without_known_names_stays_as_it_is(text in "[{}x\":,\\[\\] \\\\]{0,60}") {
            prop_assert_eq!(filled(&text), text);
        }
    }
}
