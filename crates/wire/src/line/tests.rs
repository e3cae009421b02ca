use super::*;
use proptest::prelude::*;

/// Everything that comes out of a buffer fed with these chunks, and what it keeps at the end.
fn read(max_line_bytes: usize, chunks: &[&[u8]]) -> (Vec<Result<Vec<u8>, LineTooLong>>, Vec<u8>) {
    let mut buffer = LineBuffer::new(max_line_bytes);
    let mut seen = Vec::new();
    for chunk in chunks {
        let mut lines = buffer.feed(chunk);
        while let Some(line) = lines.next() {
            seen.push(line.map(<[u8]>::to_vec));
        }
    }
    (seen, buffer.pending().to_vec())
}

/// The same, framed by the letter of F1 to F3 with no thought for speed or chunks.
fn read_by_the_rules(
    max_line_bytes: usize,
    stream: &[u8],
) -> (Vec<Result<Vec<u8>, LineTooLong>>, Vec<u8>) {
    let mut seen = Vec::new();
    let mut line = Vec::new();
    for &byte in stream {
        line.push(byte);
        if byte == b'\n' {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if !line.iter().all(|b| b" \t\r".contains(b)) {
                seen.push(Ok(std::mem::take(&mut line)));
            }
            line.clear();
        } else if line.len() == max_line_bytes {
            seen.push(Err(LineTooLong { max_line_bytes }));
            return (seen, Vec::new());
        }
    }
    (seen, line)
}

/// Cuts a stream at the given places, wherever they fall.
fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|i| i.index(stream.len() + 1)).collect();
    at.push(0);
    at.push(stream.len());
    at.sort_unstable();
    at.windows(2).map(|w| &stream[w[0]..w[1]]).collect()
}

/// Streams in which line ends, blank lines and lines around a limit of 16 bytes are common.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"\n".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        1 => Just(b" \t\r".to_vec()),
        2 => Just(b"{\"a\":1}\n".to_vec()),
        1 => prop::collection::vec(prop_oneof![Just(b'x'), Just(b' '), any::<u8>()], 13..18),
        3 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

#[test]
#[rustfmt::skip] // a sentence a row
fn a_stream_is_cut_into_lines() {
    type Row = (&'static str, &'static [&'static [u8]], &'static [&'static [u8]], &'static [u8]);
    let cases: &[Row] = &[
        ("nothing gives nothing", &[], &[], b""),
        ("an empty read gives nothing", &[b""], &[], b""),
        ("a line without its LF", &[b"{}\n"], &[b"{}"], b""),
        ("lines joined in one read", &[b"a\nb\nc\n"], &[b"a", b"b", b"c"], b""),
        ("a line split over reads", &[b"a", b"b", b"", b"c\n"], &[b"abc"], b""),
        ("a CR before the LF is ignored", &[b"a\r\nb\r\n"], &[b"a", b"b"], b""),
        ("a CR split from its LF is ignored too", &[b"a\r", b"\nb\n"], &[b"a", b"b"], b""),
        ("one CR only", &[b"a\r\r\n"], &[b"a\r"], b""),
        ("a CR elsewhere is the line's own", &[b"a\rb\n"], &[b"a\rb"], b""),
        ("blank lines are ignored", &[b"\n\r\n \t\n\r\r\na\n\n"], &[b"a"], b""),
        ("a blank line split over reads", &[b" ", b"\t", b"\r", b"\na\n"], &[b"a"], b""),
        ("other white space is not blank", &[b"\x0b\n\x0c\n\xc2\xa0\n"], &[b"\x0b", b"\x0c", b"\xc2\xa0"], b""),
        ("what has no LF stays pending", &[b"a\nbc", b"d"], &[b"a"], b"bcd"),
        ("bytes are not judged", &[b"\xff\x00{\n"], &[b"\xff\x00{"], b""),
    ];
    for (sentence, chunks, lines, pending) in cases {
        let (seen, kept) = read(DEFAULT_MAX_LINE_BYTES, chunks);
        let seen: Vec<Vec<u8>> = seen.into_iter().map(Result::unwrap).collect();
        assert_eq!(seen, *lines, "{sentence}");
        assert_eq!(kept, *pending, "{sentence}");
    }
}

#[test]
fn the_limit_counts_the_lf_wherever_the_line_is_split() {
    const LIMIT: usize = 16;
    let too_long = LineTooLong {
        max_line_bytes: LIMIT,
    };
    for (sentence, body, fits) in [
        ("one byte under the limit", LIMIT - 2, true),
        ("exactly the limit", LIMIT - 1, true),
        ("one byte over the limit", LIMIT, false),
    ] {
        let line = [vec![b'x'; body], b"\n".to_vec()].concat();
        for split in 0..=line.len() {
            let (seen, _) = read(LIMIT, &[&line[..split], &line[split..]]);
            let expected = if fits {
                Ok(line[..body].to_vec())
            } else {
                Err(too_long)
            };
            assert_eq!(seen, [expected], "{sentence}, split at {split}");
        }
    }
    let (seen, _) = read(LIMIT, &[&[b'x'; LIMIT - 1]]);
    assert_eq!(seen, [], "an LF may still come in time");
    let (seen, _) = read(LIMIT, &[&[b'x'; LIMIT]]);
    assert_eq!(seen, [Err(too_long)], "no LF can come in time any more");
    let (seen, _) = read(LIMIT, &[&[b' '; LIMIT + 1]]);
    assert_eq!(
        seen,
        [Err(too_long)],
        "a blank line has the limit of any other"
    );
}

#[test]
fn after_a_line_too_long_nothing_is_lent_any_more() {
    let mut buffer = LineBuffer::new(4);
    let mut lines = buffer.feed(b"abcdef\nx\nx\n");
    assert_eq!(lines.next(), Some(Err(LineTooLong { max_line_bytes: 4 })));
    assert_eq!(lines.next(), None);
    assert!(!lines.take_if(b"x\n"));
    assert_eq!(buffer.pending_bytes(), 0);
    assert!(!buffer.feed(b"x\n").take_if(b"x\n"));
    assert_eq!(buffer.feed(b"x\n").next(), None);
}

#[test]
fn a_caller_may_stop_at_a_line_that_was_split() {
    let mut buffer = LineBuffer::new(64);
    assert_eq!(buffer.feed(b"ab").next(), None);
    assert_eq!(buffer.pending(), b"ab");
    assert_eq!(
        buffer.feed(b"c\nrest of the chunk").next(),
        Some(Ok(&b"abc"[..]))
    );
    assert_eq!(buffer.pending_bytes(), 0, "the line was whole");
    assert_eq!(buffer.feed(b"de\n").next(), Some(Ok(&b"de"[..])));
}

#[test]
fn one_long_line_does_not_fatten_a_connection_for_life() {
    let mut buffer = LineBuffer::new(DEFAULT_MAX_LINE_BYTES);
    assert_eq!(buffer.feed(&[b'x'; 60_000]).next(), None);
    assert!(buffer.tail.capacity() >= 60_000);
    let mut lines = buffer.feed(b"\n");
    assert!(lines.next().unwrap().is_ok());
    assert_eq!(lines.next(), None);
    assert_eq!(buffer.tail.capacity(), 0);

    assert_eq!(buffer.feed(&[b'x'; 100]).next(), None);
    let mut lines = buffer.feed(b"\n");
    assert!(lines.next().unwrap().is_ok());
    assert_eq!(lines.next(), None);
    assert!((1..=KEEP_TAIL_BYTES).contains(&buffer.tail.capacity()));
}

#[test]
fn take_if_takes_the_expected_line_and_no_other() {
    let mut buffer = LineBuffer::new(64);
    let mut lines = buffer.feed(b"one\ntwo\r\nthree\nfour");
    assert!(!lines.take_if(b"two\r\n"), "another line comes first");
    assert!(lines.take_if(b"one\n"));
    assert!(!lines.take_if(b"two\n"), "CR and LF are not LF");
    assert!(lines.take_if(b"two\r\n"));
    assert!(!lines.take_if(b"thre\n"), "a prefix is not the line");
    assert_eq!(lines.next(), Some(Ok(&b"three"[..])));
    assert!(!lines.take_if(b"four\n"), "it has not ended");
    assert_eq!(lines.next(), None);

    let mut lines = buffer.feed(b"teen\nfive\n");
    assert!(lines.in_split_line());
    assert!(
        !lines.take_if(b"fourteen\n"),
        "a split line is left to next"
    );
    assert!(!lines.take_if(b"teen\n"), "half a line is none");
    assert_eq!(lines.next(), Some(Ok(&b"fourteen"[..])));
    assert!(!lines.in_split_line());
    assert!(lines.take_if(b"five\n"));
    assert_eq!(lines.next(), None);
}

#[test]
#[should_panic(expected = "no bytes at all")]
fn a_limit_of_no_bytes_is_refused() {
    let _ = LineBuffer::new(0);
}

proptest! {
    /// F5: splitting and joining changes nothing; and what comes is what F1 to F3 say.
    #[test]
    fn any_split_gives_the_lines_of_the_rules(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        max_line_bytes in prop_oneof![Just(16usize), 1..40usize],
    ) {
        let expected = read_by_the_rules(max_line_bytes, &stream);
        prop_assert_eq!(&read(max_line_bytes, &[&stream]), &expected);
        prop_assert_eq!(&read(max_line_bytes, &cut(&stream, &cuts)), &expected);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&read(max_line_bytes, &bytes), &expected);
    }

    /// A reader that tries `take_if` before every `next` sees what a reader without it sees.
    #[test]
    fn take_if_never_changes_what_is_read(
        lines in prop::collection::vec(
            prop::sample::select(vec!["{a}\n", "{a}\r\n", "{ab}\n", "{b}\n", "\n", "{", "a}\n"]),
            0..32,
        ),
        expected in prop::sample::select(vec!["{a}\n", "{a}\r\n", "{ab}\n", "{b}\n", "{{a}\n"]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream = lines.concat().into_bytes();
        let mut buffer = LineBuffer::new(12);
        let mut seen = Vec::new();
        for chunk in cut(&stream, &cuts) {
            let mut lines = buffer.feed(chunk);
            loop {
                if lines.take_if(expected.as_bytes()) {
                    seen.push(Ok(expected.trim_end().as_bytes().to_vec()));
                    continue;
                }
                match lines.next() {
                    Some(line) => seen.push(line.map(<[u8]>::to_vec)),
                    None => break,
                }
            }
        }
        prop_assert_eq!(seen, read(12, &[&stream]).0);
    }
}
