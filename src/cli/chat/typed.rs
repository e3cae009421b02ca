//! Input that is typed or piped in: lines of bounded length, read on a thread of its own.

use std::io::{self, BufRead, IsTerminal};
use std::thread;

use tokio::sync::mpsc;

/// The longest line that is kept while it is being typed. Servers take less; this only keeps
/// `chatbench chat < /dev/zero` from using up all memory.
const MAX_TYPED_BYTES: usize = 16 << 20;

/// The most that a terminal which edits lines itself passes on of one, without its end: it drops
/// the rest silently.
const MAX_TERMINAL_LINE_BYTES: usize = 4095;

/// One line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Without its line end.
    Line(String),
    /// Over [`MAX_TYPED_BYTES`]; skipped to its end.
    TooLong,
    /// Not UTF-8.
    NotText,
    /// As much as a terminal passes on of a line: there may have been more.
    Cut,
}

/// Reads stdin until it ends or nobody listens any more.
///
/// A thread of its own and not the runtime's: a read of a terminal cannot be cancelled, and a plain
/// thread that is blocked in one does not keep the process from ending.
pub(super) fn lines_of_stdin() -> mpsc::Receiver<Typed> {
    let (send, receive) = mpsc::channel(1);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let from_terminal = stdin.is_terminal();
        // A broken stdin is an ended one.
        while let Ok(Some(typed)) = next_line(&mut stdin, MAX_TYPED_BYTES) {
            let typed = match typed {
                Typed::Line(line) if from_terminal && line.len() >= MAX_TERMINAL_LINE_BYTES => {
                    Typed::Cut
                }
                typed => typed,
            };
            if send.blocking_send(typed).is_err() {
                break;
            }
        }
    });
    receive
}

/// The next line of at most `max_bytes`, or `None` at the end. An unfinished last line is one: a
/// person who ends with Ctrl-D, or a file without a last LF, means it.
fn next_line(input: &mut impl BufRead, max_bytes: usize) -> io::Result<Option<Typed>> {
    let mut line = Vec::new();
    let mut too_long = false;
    let mut any = false;
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if chunk.is_empty() && !any {
            return Ok(None);
        }
        any = true;
        let lf = memchr::memchr(b'\n', chunk);
        let ended = lf.is_some() || chunk.is_empty();
        let part = &chunk[..lf.unwrap_or(chunk.len())];
        too_long |= line.len() + part.len() > max_bytes;
        if too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(lf.is_some());
        input.consume(used);
        if ended {
            break;
        }
    }
    if too_long {
        return Ok(Some(Typed::TooLong));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(
        String::from_utf8(line).map_or(Typed::NotText, Typed::Line),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn read(input: &[u8], buffer_bytes: usize) -> Vec<Typed> {
        let mut input = BufReader::with_capacity(buffer_bytes, input);
        let mut seen = Vec::new();
        while let Some(typed) = next_line(&mut input, 8).unwrap() {
            seen.push(typed);
        }
        seen
    }

    #[test]
    fn input_is_cut_into_lines_however_it_is_buffered() {
        let line = |text: &str| Typed::Line(text.to_owned());
        for buffer_bytes in [1, 2, 7, 100] {
            for (sentence, input, expected) in [
                ("nothing", &b""[..], vec![]),
                ("lines", b"one\ntwo\r\n", vec![line("one"), line("two")]),
                (
                    "blank ones too",
                    b"\na\n\n",
                    vec![line(""), line("a"), line("")],
                ),
                (
                    "an unfinished last one",
                    b"one\ntwo",
                    vec![line("one"), line("two")],
                ),
                ("no text", b"\xff\na\n", vec![Typed::NotText, line("a")]),
                ("just short enough", b"12345678\n", vec![line("12345678")]),
                (
                    "too long",
                    b"123456789\na\n",
                    vec![Typed::TooLong, line("a")],
                ),
                (
                    "too long at the end",
                    b"a\n12345678901234567890",
                    vec![line("a"), Typed::TooLong],
                ),
            ] {
                assert_eq!(
                    read(input, buffer_bytes),
                    expected,
                    "{sentence}, {buffer_bytes}"
                );
            }
        }
    }
}
