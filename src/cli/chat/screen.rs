//! The output of a chat: who said what on stdout, everything about the conversation on stderr.
//!
//! Control characters in text from the network are escaped: a stranger must not move the cursor,
//! ring the bell, or reverse the direction of the text.

use std::io::{self, IsTerminal, Write};

use super::editor::Editor;
use crate::terminal::{columns, narrowed, visible};

/// Indent, in columns, of the continuation of a wrapped line.
const INDENT: usize = 2;

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
            Self::Text(text) => visible(text).into_owned(),
            Self::Accepted { seq } => paint("2", &format!("✓ {seq}")),
            Self::Refused(words) => paint("31", &format!("✗ {}", visible(words))),
            Self::Note(words) => paint("2", &visible(words)),
        }
    }
}

/// Both streams of this process, and whether to colour each.
pub(super) struct Screen {
    colour_stdout: bool,
    colour_stderr: bool,
    /// Columns of standard error, 0 if it does not know; `None` where it is no terminal.
    columns: Option<usize>,
    /// The line editor, where lines are typed on the same terminal: output goes above the line
    /// being typed.
    editor: Option<Editor>,
}

impl Screen {
    /// Colours go to terminals, and nowhere if `NO_COLOR` says so (no-color.org).
    pub(super) fn of_this_process(editor: Option<Editor>) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            colour_stdout: wanted && io::stdout().is_terminal(),
            colour_stderr: wanted && io::stderr().is_terminal(),
            columns: columns(&io::stderr()),
            editor,
        }
    }

    /// Prints each, in order.
    ///
    /// # Errors
    /// Where stdout is closed: nobody listens any more. stderr may be.
    pub(super) fn show(&mut self, all: &[Shown]) -> io::Result<()> {
        for shown in all {
            let said = matches!(shown, Shown::Said { .. } | Shown::Text(_));
            let colour = if said {
                self.colour_stdout
            } else {
                self.colour_stderr
            };
            let mut line = shown.line(colour) + "\n";
            // Messages of others stay as they came; this program's own text is wrapped between
            // words.
            if let Some(columns @ 1..) = self.columns.filter(|_| !said) {
                line = narrowed(&line, columns, |_| INDENT);
            }
            // Where there is an editor standard output is its terminal.
            if let Some(editor) = &mut self.editor
                && (said || io::stderr().is_terminal())
                && editor.printer.print(line.clone()).is_ok()
            {
                continue;
            }
            if said {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line.as_bytes())?;
                stdout.flush()?;
            } else {
                let _ = io::stderr().write_all(line.as_bytes());
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
