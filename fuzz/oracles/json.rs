//! A JSON reader written to be checked by eye against RFC 8259, not to be fast: the other opinion
//! on what is JSON.

/// The pairs of one JSON object that fills `text` but for white space: each key as it is written,
/// quotes and all, and each value as it is written. `None` if `text` is anything else.
pub(crate) fn object(text: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut reader = Reader { text, at: 0 };
    let mut pairs = Vec::new();
    reader.space();
    reader.expect(b'{')?;
    reader.space();
    if !reader.skip(b'}') {
        loop {
            let key = reader.spanned(Reader::string)?;
            reader.space();
            reader.expect(b':')?;
            reader.space();
            pairs.push((key, reader.spanned(Reader::value)?));
            reader.space();
            if reader.skip(b'}') {
                break;
            }
            reader.expect(b',')?;
            reader.space();
        }
    }
    reader.space();
    (reader.at == text.len()).then_some(pairs)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip(byte).then_some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn spanned(&mut self, read: fn(&mut Self) -> Option<()>) -> Option<&'a [u8]> {
        let start = self.at;
        read(self)?;
        Some(&self.text[start..self.at])
    }

    /// Any value. Nesting is kept on the heap: its depth is the attacker's to choose.
    fn value(&mut self) -> Option<()> {
        let mut open = Vec::new();
        loop {
            // A value begins here.
            match self.peek()? {
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                b'[' => {
                    self.at += 1;
                    self.space();
                    if !self.skip(b']') {
                        open.push(b']');
                        continue;
                    }
                }
                b'{' => {
                    self.at += 1;
                    self.space();
                    if !self.skip(b'}') {
                        open.push(b'}');
                        self.key()?;
                        continue;
                    }
                }
                _ => return None,
            }
            // A value has ended here, and with it perhaps those around it.
            loop {
                let Some(&close) = open.last() else {
                    return Some(());
                };
                self.space();
                if self.skip(close) {
                    open.pop();
                    continue;
                }
                self.expect(b',')?;
                self.space();
                if close == b'}' {
                    self.key()?;
                }
                break;
            }
        }
    }

    fn key(&mut self) -> Option<()> {
        self.string()?;
        self.space();
        self.expect(b':')?;
        self.space();
        Some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        word.iter().try_for_each(|&byte| self.expect(byte))
    }

    fn string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => (0..4).try_for_each(|_| {
                let hex = self.peek()?.is_ascii_hexdigit();
                self.at += 1;
                hex.then_some(())
            }),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<()> {
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _sign = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}
