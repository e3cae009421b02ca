//! The style of a terminal: its width, colours, and characters beyond ASCII.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use console::measure_text_width;

use crate::terminal;

/// The width of files and of other outputs that are no terminal.
pub const FILE_WIDTH: usize = 80;

/// The least width that anything is laid out for.
pub const MIN_WIDTH: usize = 40;

/// The greatest width, however wide the terminal: longer lines are hard to read.
const MAX_WIDTH: usize = 120;

/// The style of a rendering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Columns.
    pub width: usize,
    /// Whether to colour.
    pub colour: bool,
    /// Whether to use characters beyond ASCII.
    pub unicode: bool,
}

/// The meaning of a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// All is well.
    Good,
    /// Something is wrong.
    Bad,
    /// Something is in doubt.
    Doubt,
    /// A heading.
    Strong,
    /// Of lesser importance.
    Faint,
}

impl Style {
    /// For files: plain, UTF-8, 80 columns.
    pub const FILE: Self = Self {
        width: FILE_WIDTH,
        colour: false,
        unicode: true,
    };

    /// Detects what `stream` and the environment ask for.
    #[must_use]
    pub fn detect(stream: &(impl IsTerminal + AsFd)) -> Self {
        Self::from_environment(terminal::columns(stream), |name| std::env::var(name).ok())
    }

    /// [`Style::detect`], its inputs as arguments: the terminal's columns, if it is one, and the
    /// environment.
    fn from_environment(columns: Option<usize>, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        // The order in which a C library looks them up.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let charset = locale.unwrap_or_default().to_ascii_lowercase();
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        Self {
            width: columns
                .filter(|columns| *columns > 0)
                .map_or(FILE_WIDTH, |columns| columns.clamp(MIN_WIDTH, MAX_WIDTH)),
            colour: columns.is_some() && !dumb && set("NO_COLOR").is_none(),
            unicode: charset.contains("utf-8") || charset.contains("utf8"),
        }
    }

    /// `text` as this terminal can show it: [`terminal::visible`], and without characters that it
    /// does not have.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let plain = |c: char| terminal::is_visible(c) && (self.unicode || c.is_ascii());
        if text.chars().all(plain) {
            return Cow::Borrowed(text);
        }
        let mut shown = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                c if plain(c) => shown.push(c),
                c if !terminal::is_visible(c) => shown.extend(terminal::escape(c)),
                '·' | '–' | '—' | '−' => shown.push('-'),
                '±' => shown.push_str("+-"),
                '→' => shown.push_str("->"),
                'µ' => shown.push('u'),
                '…' => shown.push_str("..."),
                '✓' => shown.push_str("ok"),
                '✗' => shown.push_str("FAIL"),
                '§' => shown.push_str("section "),
                '≥' => shown.push_str(">="),
                '≤' => shown.push_str("<="),
                c => shown.extend(c.escape_unicode()),
            }
        }
        Cow::Owned(shown)
    }

    /// `text` as this terminal can show it, in colour if there is any.
    pub(crate) fn paint(&self, paint: Paint, text: &str) -> String {
        let text = self.text(text);
        if !self.colour {
            return text.into_owned();
        }
        let code = match paint {
            Paint::Good => "1;32",
            Paint::Bad => "1;31",
            Paint::Doubt => "1;33",
            Paint::Strong => "1",
            Paint::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Writes a conclusion: lines of words, painted.
    pub(crate) fn conclusion(&self, out: &mut String, paint: Paint, words: &str) {
        let words = self.text(words);
        let painted = words.split(' ').map(|word| self.paint(paint, word));
        self.flow(out, "", 2, " ", painted);
    }

    /// Lines of `items` between `separator`s, the first after `head`, the others indented by
    /// `indent`; none longer than the width unless a single word is. Items are taken as they are
    /// (already [`Style::text`] or [`Style::paint`]).
    pub(crate) fn flow<T: AsRef<str>>(
        &self,
        out: &mut String,
        head: &str,
        indent: usize,
        separator: &str,
        items: impl IntoIterator<Item = T>,
    ) {
        let separator = self.text(separator);
        let items: Vec<T> = items.into_iter().collect();
        let room = self.width.saturating_sub(indent);
        let pieces = items.iter().flat_map(|item| {
            // An item that is too long for any line is broken between its words.
            let item = item.as_ref();
            let at = if measure_text_width(item) > room {
                ' '
            } else {
                '\n'
            };
            item.split(at)
                .enumerate()
                .map(|(i, piece)| (if i == 0 { &*separator } else { " " }, piece))
        });
        terminal::flow(out, self.width, head, indent, pieces);
    }

    /// A command, which is there to be copied: broken between its words as a shell takes it.
    pub(crate) fn command(&self, out: &mut String, head: &str, indent: usize, command: &str) {
        const BROKEN: &str = " \\";
        let command = self.text(command);
        if measure_text_width(head) + measure_text_width(&command) <= self.width {
            out.push_str(&format!("{head}{command}\n"));
            return;
        }
        let width = self.width - BROKEN.len();
        let words = shell_words(&command);
        // A word that does not fit there, such as a file's path, has more room at the left edge.
        let widest = words.iter().map(|word| measure_text_width(word)).max();
        let indent = match widest {
            Some(widest) if indent + widest > width => indent.min(2),
            _ => indent,
        };
        let mut lines = String::new();
        let words = words.into_iter().map(|word| (" ", word));
        terminal::flow(&mut lines, width, head, indent, words);
        let lines = lines.trim_end().replace('\n', &format!("{BROKEN}\n"));
        out.push_str(&lines);
        out.push('\n');
    }

    /// A paragraph: [`Style::flow`] over its words.
    pub(crate) fn paragraph(&self, out: &mut String, head: &str, indent: usize, text: &str) {
        let text = self.text(text);
        self.flow(
            out,
            head,
            indent,
            " ",
            text.split(' ').filter(|word| !word.is_empty()),
        );
    }
}

/// The words of a command as a shell tells them apart, each still quoted.
fn shell_words(command: &str) -> Vec<&str> {
    let (mut words, mut from) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in command.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = !quoted,
            '\'' => quoted = !quoted,
            ' ' if !quoted => {
                words.push(&command[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    words.push(&command[from..]);
    words
}

/// `text` filled up with spaces on the right to `width` columns.
pub(crate) fn left(text: &str, width: usize) -> String {
    let fill = width.saturating_sub(measure_text_width(text));
    format!("{text}{}", " ".repeat(fill))
}

/// `text` filled up with spaces on the left to `width` columns.
pub(crate) fn right(text: &str, width: usize) -> String {
    let fill = width.saturating_sub(measure_text_width(text));
    format!("{}{text}", " ".repeat(fill))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCII: Style = Style {
        unicode: false,
        ..Style::FILE
    };

    fn style(columns: Option<usize>, environment: &[(&str, &str)]) -> Style {
        Style::from_environment(columns, |name| {
            environment
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        type Variables = [(&'static str, &'static str)];
        let table: [(_, &Variables, _); 5] = [
            (Some(100), &[], true),
            (None, &[], false),
            (Some(100), &[("NO_COLOR", "1")], false),
            (Some(100), &[("NO_COLOR", "")], true),
            (Some(100), &[("TERM", "dumb")], false),
        ];
        for (columns, environment, colour) in table {
            assert_eq!(
                style(columns, environment).colour,
                colour,
                "{columns:?} {environment:?}"
            );
        }
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides_on_unicode() {
        let table: [(&[(&str, &str)], bool); 6] = [
            (&[], false),
            (&[("LANG", "en_GB.UTF-8")], true),
            (&[("LANG", "C.utf8")], true),
            (&[("LANG", "C")], false),
            (&[("LC_ALL", "C"), ("LANG", "en_GB.UTF-8")], false),
            (
                &[("LC_ALL", ""), ("LC_CTYPE", "de_DE.UTF-8"), ("LANG", "C")],
                true,
            ),
        ];
        for (environment, unicode) in table {
            assert_eq!(style(None, environment).unicode, unicode, "{environment:?}");
        }
    }

    #[test]
    fn the_width_stays_within_reason() {
        let width = |columns| style(columns, &[]).width;
        assert_eq!(
            [None, Some(0), Some(20), Some(66), Some(97), Some(400)].map(width),
            [80, 80, 40, 66, 97, 120]
        );
    }

    #[test]
    fn nothing_that_a_server_says_can_steer_the_terminal() {
        assert_eq!(
            Style::FILE.text("\x1b[2J\r\nhi\u{9b}"),
            r"\u{1b}[2J\r\nhi\u{9b}"
        );
        assert_eq!(ASCII.text("é→µs – 已"), r"\u{e9}->us - \u{5df2}");
        assert!(matches!(Style::FILE.text("é→µs"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_break_between_items_and_colour_takes_no_columns() {
        let style = Style {
            width: 10,
            colour: true,
            unicode: true,
        };
        let mut out = String::new();
        let items = [
            style.paint(Paint::Good, "aaa"),
            "bbbb".into(),
            "cc".into(),
            "d".repeat(12),
        ];
        style.flow(&mut out, "> ", 2, " · ", items);
        let expected = "> \x1b[1;32maaa\x1b[0m\n  bbbb\n  cc\n  dddddddddddd\n";
        assert_eq!(out, expected);
        out.clear();
        style.flow(&mut out, "", 2, " · ", ["a b", "ccc ddd eee", "f"]);
        assert_eq!(out, "a b · ccc\n  ddd eee\n  f\n");
        out.clear();
        style.flow(&mut out, "", 2, "·", ["aaa", "bb", "ccc", "d"]);
        assert_eq!(out, "aaa·bb·ccc\n  d\n");
    }

    #[test]
    fn a_command_that_is_too_long_stays_one_for_the_shell() {
        let style = Style {
            width: 30,
            ..Style::FILE
        };
        let command = r"chatbench run 'a b c.toml' --set 'x='\''y z'\''' --seed 1";
        let mut out = String::new();
        style.command(&mut out, "again  ", 4, command);
        let expected = [
            r"again  chatbench run \",
            r"    'a b c.toml' --set \",
            r"    'x='\''y z'\''' --seed 1",
            "",
        ];
        assert_eq!(out, expected.join("\n"));
        out.clear();
        style.command(&mut out, "", 4, "chatbench run a.toml");
        assert_eq!(out, "chatbench run a.toml\n");
    }

    #[test]
    fn columns_are_filled_by_what_is_seen() {
        assert_eq!(left("µs", 4), "µs  ");
        assert_eq!(right("已", 4), "  已");
        assert_eq!(right("too long", 4), "too long");
    }
}
