//! Safe output to a terminal.
//!
//! Names, messages, file names and scenarios come from elsewhere, and a terminal obeys what is
//! written to it: an escape sequence in an error of the system under test could clear the screen,
//! set the title, or write `PASS` over a verdict. Text that is not this program's own goes through
//! [`visible`] before it becomes part of a line, and nothing is written to standard error but
//! through [`tell`], [`complain`] and [`Log`].
//!
//! A terminal breaks a line that is too long for it in the middle of a word. So lines for one are
//! broken between words first ([`flow`]).

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::iter;
use std::os::fd::AsFd;

use console::measure_text_width;

/// Whether a terminal shows `c` as a character and does nothing else with it.
///
/// It does not for controls (C0, DEL, C1), characters that change the direction of writing, line
/// and paragraph separators, and invisible characters, which hide between their neighbours. Joiners
/// (U+200C, U+200D) and the sixteen common variation selectors count as visible: scripts and emoji
/// need them.
#[must_use]
pub const fn is_visible(c: char) -> bool {
    !matches!(c,
        '\u{0}'..='\u{1f}'            // C0
        | '\u{7f}'..='\u{9f}'         // DEL, C1
        | '\u{ad}'                    // soft hyphen
        | '\u{34f}'                   // combining grapheme joiner
        | '\u{61c}'                   // Arabic letter mark
        | '\u{115f}'..='\u{1160}'     // Hangul fillers
        | '\u{17b4}'..='\u{17b5}'     // inherent vowels of Khmer
        | '\u{180e}'                  // Mongolian vowel separator
        | '\u{200b}'                  // zero-width space
        | '\u{200e}'..='\u{200f}'     // marks of direction
        | '\u{2028}'..='\u{202e}'     // line, paragraph; embeddings and overrides of direction
        | '\u{2060}'..='\u{206f}'     // invisible operators; isolates of direction
        | '\u{3164}'                  // Hangul filler
        | '\u{feff}'                  // byte order mark
        | '\u{ffa0}'                  // Hangul filler
        | '\u{fff9}'..='\u{fffb}'     // interlinear annotation
        | '\u{e0000}'..='\u{e0fff}'   // tags, more variation selectors
    )
}

/// `text` with every character that is not [visible](is_visible) written as an escape: `\n`,
/// `\u{1b}`.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |_, c| is_visible(c))
}

/// [`visible`], for text of several lines: line ends and tabs stay as they are.
#[must_use]
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, stays_in_lines(text))
}

/// The offset in [`visible_lines`] of `text` of the character at byte `at` of `text`.
#[must_use]
pub fn visible_lines_offset(text: &str, at: usize) -> usize {
    let stays = stays_in_lines(text);
    let before = text.char_indices().take_while(|(index, _)| *index < at);
    let widths = before.map(|(index, c)| match stays(index, c) {
        true => c.len_utf8(),
        false => escape(c).count(), // an escape is ASCII
    });
    widths.sum()
}

/// A JSON document with every character that is not [visible](is_visible) written as a JSON
/// escape: the same document to a parser, and harmless when printed.
#[must_use]
pub fn visible_json(document: &str) -> Cow<'_, str> {
    // Outside of strings the only such characters are the layout's line ends.
    let stays = |c: char| c == '\n' || is_visible(c);
    if document.chars().all(stays) {
        return Cow::Borrowed(document);
    }
    let mut shown = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        if stays(c) {
            shown.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Cow::Owned(shown)
}

/// The usual escapes where there are any, such as `\n`; the rest as `\u{1b}`.
pub fn escape(c: char) -> impl Iterator<Item = char> {
    let known = matches!(c, '\n' | '\r' | '\t');
    let short = known.then(|| c.escape_default());
    let long = (!known).then(|| c.escape_unicode());
    short
        .into_iter()
        .flatten()
        .chain(long.into_iter().flatten())
}

fn escaped(text: &str, stays: impl Fn(usize, char) -> bool) -> Cow<'_, str> {
    if text.char_indices().all(|(index, c)| stays(index, c)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for (index, c) in text.char_indices() {
        if stays(index, c) {
            shown.push(c);
        } else {
            shown.extend(escape(c));
        }
    }
    Cow::Owned(shown)
}

/// Keeps line ends and tabs, but a carriage return only before a line feed, since alone it would
/// overwrite its own line.
fn stays_in_lines(text: &str) -> impl Fn(usize, char) -> bool {
    move |index, c| match c {
        '\n' | '\t' => true,
        '\r' => text[index + 1..].starts_with('\n'),
        _ => is_visible(c),
    }
}

/// Columns by which the lines after the first one of a paragraph are indented.
const INDENT: usize = 2;

/// The columns of the terminal `stream`, 0 if unknown; `None` if it is not a terminal.
pub fn columns(stream: &(impl IsTerminal + AsFd)) -> Option<usize> {
    stream.is_terminal().then(|| {
        let size = rustix::termios::tcgetwinsize(stream);
        size.map_or(0, |size| usize::from(size.ws_col))
    })
}

/// Writes `pieces` to `out`, each after its separator, in lines of at most `width` columns unless a
/// single piece is wider: the first line after `head`, the others indented by `indent`. At a line
/// break, and at the beginning, the separator is left out. The last line is ended.
pub fn flow<S: AsRef<str>, P: AsRef<str>>(
    out: &mut String,
    width: usize,
    head: &str,
    indent: usize,
    pieces: impl IntoIterator<Item = (S, P)>,
) {
    out.push_str(head);
    let mut column = measure_text_width(head);
    let mut is_first = true;
    for (separator, piece) in pieces {
        let separator = if is_first { "" } else { separator.as_ref() };
        let piece = piece.as_ref();
        let (gap, wide) = (measure_text_width(separator), measure_text_width(piece));
        if column + gap + wide <= width || (is_first && column <= indent) {
            out.push_str(separator);
            column += gap;
        } else {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.extend(iter::repeat_n(' ', indent));
            column = indent;
        }
        out.push_str(piece);
        column += wide;
        is_first = false;
    }
    out.push('\n');
}

/// Narrows a page that was laid out for another width: lines of more than `width` columns are
/// broken between words, and the rest of a line is indented by `indent` of that line.
pub fn narrowed(page: &str, width: usize, indent: impl Fn(&str) -> usize) -> String {
    let mut narrow = String::with_capacity(page.len());
    for line in page.lines() {
        let words = line.split(' ').map(|word| (" ", word));
        if measure_text_width(line) <= width {
            narrow.push_str(line);
            narrow.push('\n');
        } else {
            flow(&mut narrow, width, "", indent(line), words);
        }
    }
    narrow
}

/// Writes a line to standard error, broken between words if that is a terminal. If it is closed,
/// the failure is ignored.
pub fn tell(text: impl Display) {
    let text = text.to_string();
    let line = match columns(&io::stderr()) {
        None | Some(0) => format!("{}\n", visible(&text)),
        Some(width) => paragraph(&visible(&text), width),
    };
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Breaks a text between words into lines of at most `width` columns.
fn paragraph(text: &str, width: usize) -> String {
    let mut lines = String::new();
    let words = text.split(' ').map(|word| (" ", word));
    flow(&mut lines, width, "", INDENT, words);
    lines
}

/// Writes an error to standard error, as a line that begins with the program's name.
pub fn complain(error: impl Display) {
    tell(format_args!("chatbench: {error}"));
}

/// Writes a text to standard error that is laid out already, in colour or not; any text from
/// elsewhere in it must have gone through [`visible`].
pub fn tell_page(page: &str) {
    let _ = io::stderr().lock().write_all(page.as_bytes());
}

/// Standard error for a log; each write is one event, in a line of its own.
///
/// Colours pass, since the logger sets them; it escapes those in what it logs itself.
#[derive(Debug)]
pub struct Log<W = io::Stderr>(W);

impl Log {
    /// A log on standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self(io::stderr())
    }
}

impl<W: Write> Write for Log<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let mut shown = String::with_capacity(text.len());
        for (i, part) in line.split("\x1b[").enumerate() {
            let colour = part.find(|c: char| !c.is_ascii_digit() && c != ';');
            match colour {
                Some(end) if i > 0 && part[end..].starts_with('m') => {
                    shown.push_str("\x1b[");
                    shown.push_str(&part[..=end]);
                    shown.push_str(&visible(&part[end + 1..]));
                }
                _ if i > 0 => shown.push_str(&visible(&format!("\x1b[{part}"))),
                _ => shown.push_str(&visible(part)),
            }
        }
        if line.len() < text.len() {
            shown.push('\n');
        }
        self.0.write_all(shown.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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
            ("\u{202e}txt.exe\u{2066}", "\\u{202e}txt.exe\\u{2066}"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{e0041}\u{e0100}", "\\u{e0041}\\u{e0100}"),
            ("👩\u{200d}🚀 ❤\u{fe0f}", "👩\u{200d}🚀 ❤\u{fe0f}"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn lines_are_broken_between_words_and_after_a_head_that_fills_one() {
        let text = "no such file: a-path-that-is-wider-than-the-terminal; is it there?";
        assert_eq!(
            paragraph(text, 16),
            "no such file:\n  a-path-that-is-wider-than-the-terminal;\n  is it there?\n"
        );
        assert_eq!(paragraph("short", 16), "short\n");
        let laid_out = |head: &str, pieces: &[&str]| {
            let mut out = String::new();
            let pieces = pieces.iter().map(|piece| (" · ", piece));
            flow(&mut out, 10, head, 2, pieces);
            out
        };
        assert_eq!(laid_out("name  ", &["aaaa", "b"]), "name  aaaa\n  b\n");
        assert_eq!(laid_out("name  ", &["aaaaa", "b"]), "name\n  aaaaa\n  b\n");
        assert_eq!(laid_out("  ", &["aaaaaaaaaa", "b"]), "  aaaaaaaaaa\n  b\n");
        assert_eq!(laid_out("x ", &[]), "x \n");
    }

    #[test]
    fn lines_stay_lines_and_places_in_them_are_found_again() {
        let text = "a\tb\r\nc\rd\x1be\n";
        let shown = visible_lines(text);
        assert_eq!(shown, "a\tb\r\nc\\rd\\u{1b}e\n");
        for (at, c) in text.char_indices().filter(|(_, c)| c.is_alphabetic()) {
            assert!(shown[visible_lines_offset(text, at)..].starts_with(c));
        }
        assert_eq!(visible_lines_offset(text, text.len()), shown.len());
    }

    #[test]
    fn a_log_keeps_its_colours_and_nothing_else() {
        let mut out = Vec::new();
        let event = "\x1b[2m12:00\x1b[0m \x1b[32m INFO\x1b[0m a\x1b[2Jb\nc\u{9b}d\x1b\n";
        Log(&mut out).write_all(event.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\x1b[2m12:00\x1b[0m \x1b[32m INFO\x1b[0m a\\u{1b}[2Jb\\nc\\u{9b}d\\u{1b}\n"
        );
    }

    proptest! {
        #[test]
        fn what_is_shown_is_visible_and_shown_once(text in any::<String>()) {
            let shown = visible(&text);
            prop_assert!(shown.chars().all(is_visible));
            prop_assert_eq!(visible(&shown), shown.clone());
        }

        #[test]
        fn a_json_document_stays_the_same_document(text in any::<String>()) {
            let document = serde_json::to_string_pretty(&[text]).unwrap();
            let shown = visible_json(&document);
            prop_assert!(shown.chars().all(|c| c == '\n' || is_visible(c)));
            let (before, after): (serde_json::Value, serde_json::Value) =
                (serde_json::from_str(&document).unwrap(), serde_json::from_str(&shown).unwrap());
            prop_assert_eq!(before, after);
        }
    }
}
