//! What may stand in a subject that is published to.

use thiserror::Error;

/// Why a text is no subject that can be published to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadSubject {
    /// A character that it cannot have.
    #[error("a subject has no {}", said(*.0))]
    Character(char),
    /// A wildcard.
    #[error("`{0}` as a part of its own stands for other subjects, and none is published to by it")]
    Wildcard(char),
    /// Two dots, or one at an end.
    #[error("a subject has no empty part between its dots")]
    EmptyPart,
}

fn said(character: char) -> String {
    match character {
        ' ' => "spaces".to_owned(),
        '\t' => "tabs".to_owned(),
        other => format!(
            "control characters, and this has U+{:04X}",
            u32::from(other)
        ),
    }
}

/// Checks that a text can be published to.
///
/// # Errors
/// [`BadSubject`] says what is wrong with it.
pub fn check(subject: &str) -> Result<(), BadSubject> {
    if let Some(bad) = subject.chars().find(|c| *c == ' ' || c.is_control()) {
        return Err(BadSubject::Character(bad));
    }
    for part in subject.split('.') {
        match part {
            "" => return Err(BadSubject::EmptyPart),
            "*" => return Err(BadSubject::Wildcard('*')),
            ">" => return Err(BadSubject::Wildcard('>')),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_parts_between_dots() {
        for good in ["chat", "chat.room-1", "a*b.c>", "é.😀", "$x"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", BadSubject::EmptyPart),
            ("a..b", BadSubject::EmptyPart),
            (".a", BadSubject::EmptyPart),
            ("a.", BadSubject::EmptyPart),
            ("a.*.b", BadSubject::Wildcard('*')),
            ("a.>", BadSubject::Wildcard('>')),
            ("a b", BadSubject::Character(' ')),
            ("a\tb", BadSubject::Character('\t')),
        ] {
            assert_eq!(check(bad), Err(why), "{bad:?}");
        }
    }
}
