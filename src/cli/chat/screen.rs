//! What a person sees: who said what on stdout, everything about the conversation on stderr.
//!
//! Text from the network is shown so that it can do nothing but be read: a stranger must not
//! move the cursor, ring the bell, or turn the writing around.

use std::io::{self, IsTerminal, Write};

/// One thing to show.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// A relay.
    Said { by: String, text: String },
    /// Text of a classic server, as it came.
    Text(String),
    /// An ack: that number was given to a line typed here.
    Accepted { seq: u64 },
    /// A line typed here was refused, by the server or on this side; in words.
    Refused(String),
    /// Anything else about the conversation, in words.
    Note(String),
}

impl Shown {
    /// The line to print, without its LF.
    fn line(&self, colours: bool) -> String {
        let paint = |code: &str, text: &str| {
            if colours {
                format!("\x1b[{code}m{text}\x1b[0m")
            } else {
                text.to_owned()
            }
        };
        match self {
            Self::Said { by, text } => format!("{}  {}", paint("36", &visible(by)), visible(text)),
            Self::Text(text) => visible(text),
            Self::Accepted { seq } => paint("2", &format!("✓ {seq}")),
            Self::Refused(words) => paint("31", &format!("✗ {}", visible(words))),
            Self::Note(words) => paint("2", &visible(words)),
        }
    }
}

/// The text with every character that would act on the terminal, or on how its neighbours are
/// shown, written as an escape: controls (C0, DEL, C1), bidirectional marks and overrides, line
/// and paragraph separators, invisible spaces. Joiners stay: scripts and emoji need them.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e001f}' => shown.extend(escape(char)),
            _ => shown.push(char),
        }
    }
    shown
}

/// `\n` and its like as everyone knows them, the rest as `\u{1b}`.
fn escape(char: char) -> impl Iterator<Item = char> {
    let known = matches!(char, '\n' | '\r' | '\t');
    let short = known.then(|| char.escape_default());
    let long = (!known).then(|| char.escape_unicode());
    short
        .into_iter()
        .flatten()
        .chain(long.into_iter().flatten())
}

/// Both streams of this process, and whether to colour each.
pub(super) struct Screen {
    colour_stdout: bool,
    colour_stderr: bool,
}

impl Screen {
    /// Colours go to terminals, and nowhere if `NO_COLOR` says so (no-color.org).
    pub(super) fn of_this_process() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            colour_stdout: wanted && io::stdout().is_terminal(),
            colour_stderr: wanted && io::stderr().is_terminal(),
        }
    }

    /// Prints each, in order.
    ///
    /// # Errors
    /// Where stdout is closed: nobody listens any more. stderr may be.
    pub(super) fn show(&self, all: &[Shown]) -> io::Result<()> {
        for shown in all {
            match shown {
                Shown::Said { .. } | Shown::Text(_) => {
                    let mut stdout = io::stdout().lock();
                    writeln!(stdout, "{}", shown.line(self.colour_stdout))?;
                    stdout.flush()?;
                }
                _ => {
                    let _ = writeln!(io::stderr(), "{}", shown.line(self.colour_stderr));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stranger_cannot_drive_the_terminal() {
        for (text, shown) in [
            ("hello, wörld 😀", "hello, wörld 😀"),
            ("\x1b[2J\x07", "\\u{1b}[2J\\u{7}"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("👩\u{200d}🚀", "👩\u{200d}🚀"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn lines_with_and_without_colours() {
        let said = Shown::Said {
            by: "127.0.0.1:50412".to_owned(),
            text: "hello\x1b[0m".to_owned(),
        };
        assert_eq!(said.line(false), "127.0.0.1:50412  hello\\u{1b}[0m");
        assert_eq!(
            said.line(true),
            "\x1b[36m127.0.0.1:50412\x1b[0m  hello\\u{1b}[0m"
        );
        assert_eq!(Shown::Accepted { seq: 42 }.line(false), "✓ 42");
        let refused = Shown::Refused("too\nlong".to_owned());
        assert_eq!(refused.line(false), "✗ too\\nlong");
    }

    proptest! {
        #[test]
        fn nothing_shown_is_a_control(by in any::<String>(), text in any::<String>()) {
            prop_assert!(!Shown::Text(text.clone()).line(false).contains(char::is_control));
            let line = Shown::Said { by, text }.line(false);
            prop_assert!(!line.contains(char::is_control));
        }
    }
}
